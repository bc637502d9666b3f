"""The README.md of an exported model: what it is, what it learned from, and how to use it."""

import shlex
from pathlib import Path

from transformer.errors import UserError
from transformer.ladder.describe import describe_model
from transformer.machine.saved_values import read_saved
from transformer.runs.metrics import is_evaluation, read_metrics
from transformer.runs.model_file import LoadedModel
from transformer.runs.run_folder import IMPORTED
from transformer.sharing.training_command import training_command

FRONT = "---\nlibrary_name: transformers\npipeline_tag: text-generation\n---\n"


def model_card(loaded: LoadedModel, name: str, folder: Path) -> str:
    """The text of the file.

    Args:
        name: what the model is called.
        folder: where it is being exported to.
    """
    export = shlex.join([str(loaded.path), "--output", str(folder)])
    return f"""{FRONT}
# {name}

{describe_model(loaded.model)}.

{history(loaded)}

```python
from transformers import pipeline

write = pipeline("text-generation", {str(folder)!r})
print(write("Once there was")[0]["generated_text"])
```

Exported with `uv run python commands/export_hf.py {export}` of
transformer-by-hand, a decoder-only transformer to read in an evening. Logits and token ids are
those of the original.
"""


def history(loaded: LoadedModel) -> str:
    """Where the weights come from, as far as the files beside them say."""
    folder = loaded.path.parent
    try:
        if (folder / IMPORTED).is_file():
            origin = read_saved(folder / IMPORTED).take("imported", str)
            return f"The weights were imported from {origin}."
        run = folder.parent
        saved = read_saved(run / "config.json")
        training = saved.take("training", dict)
        records = read_metrics(run / "metrics.jsonl")
        begun_with = saved.take("from", dict, default={}).get("path", "")
        command = training_command(training, begun_with)
    except (UserError, OSError, KeyError, TypeError):
        return f"What it was trained on is not known; the file is of step {loaded.step}."
    at = [r for r in records if is_evaluation(r) and r["step"] == loaded.step]
    loss = at[-1]["val_loss"] if at else None
    judged = f"Its validation loss is {loss:.4f} nats per token." if loss else ""
    how = "Fine-tuned" if begun_with else "Trained"
    return (
        f"{how} on {training['dataset']}, for {loaded.step:,} steps, by\n\n"
        f"```\n{command}\n```\n\n{judged}".rstrip()
    )
