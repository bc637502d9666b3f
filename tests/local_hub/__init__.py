"""A Hugging Face hub on this machine, for tests and for trying the real client without a network.

`LocalHub` serves folders as repositories over HTTP: the listing with its pages, file resolution
with the redirect to another host that the real hub answers, byte ranges, and faults on demand.
The real `huggingface_hub` client talks to it; nothing is mocked on the client's side.

    with LocalHub({"HuggingFaceFW/fineweb": folder}) as hub:
        HfApi(endpoint=hub.url).list_repo_tree("HuggingFaceFW/fineweb", repo_type="dataset")

From a shell: `python -m tests.local_hub FOLDER --repo HuggingFaceFW/fineweb`.
"""

from .faults import Fault
from .server import LocalHub

__all__ = ["Fault", "LocalHub"]
