"""Judging in a process of its own: what a learner's code does stays there, and it may not end.

The processes come from a server that has imported PyTorch already, so that a verdict takes as long
as the judge, not as long as an import.
"""

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

from exercises.contents import EXERCISES
from exercises.judging.check import Failure
from exercises.judging.judge import Verdict, judge
from transformer.errors import UserError

LIMIT = 20.0  # seconds for the judge
START = 300.0  # and for the process to be there: on a busy machine the imports take long
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    # Optimisers import torch._dynamo when the first one is made: a second for each verdict.
    ["exercises.judging.judge", "exercises.judging.inside", "torch._dynamo"]
)


def judged(name: str, path: Path, limit: float = LIMIT) -> Verdict:
    """The verdict on a file; one whose code does not end is stopped after `limit` seconds.

    Raises:
        UserError: no process could be started; nothing is known of the file.
    """
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_child, args=(name, path.resolve(), sender), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(START):
            raise UserError(
                f"after {START:.0f} seconds the process that judges {path.name} was not there: "
                "the machine is very busy; try again"
            )
        receiver.recv()  # it is ready
        if receiver.poll(limit):
            return Verdict.from_json(receiver.recv())
        mistake = f"after {limit:.0f} seconds it was not done: is there a loop without an end?"
    except EOFError:
        mistake = "its process ended without a verdict"
    finally:
        process.kill()
        process.join()
        receiver.close()
    failure = Failure("running", path.name, "", "", mistake)
    return Verdict(False, failure)


def _child(name: str, path: Path, sender: Connection) -> None:
    import sys

    import torch
    import torch._dynamo  # with the first optimiser it would be imported anyway

    sys.dont_write_bytecode = True
    torch.set_num_threads(1)
    sender.send("ready")
    sender.send(judge(EXERCISES[name], path).to_json())
    sender.close()
