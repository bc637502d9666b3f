"""Serve a folder as a data set repository until Ctrl-C."""

import argparse
import time
from pathlib import Path

from .server import LocalHub


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repo", default="HuggingFaceFW/fineweb")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    arguments = parser.parse_args()
    folders = {arguments.repo: arguments.folder}
    with LocalHub(folders, port=arguments.port, latency=arguments.latency) as hub:
        print(hub.url, flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
