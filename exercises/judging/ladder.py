"""The third stage for parts of the ladder: a learner's module in the place of ours."""

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from exercises.judging.check import Check
from exercises.judging.inside import CONFIG, same_logits, same_names, same_training
from exercises.judging.modules import with_random_weights
from transformer.config import Variant
from transformer.ladder import build_model
from transformer.training.mine import Mine


def same_in_ladder(
    variant: Variant, theirs_for: Callable[[nn.Module], nn.Module | None], check: Check
) -> None:
    """Logits with and without a cache, gradients and two steps of training are the same.

    Args:
        theirs_for: the learner's module for one of ours, or None if it is none of theirs.
    """
    ours = with_random_weights(build_model(replace(CONFIG, variant=variant)), 0.3)
    theirs = copy.deepcopy(ours)
    for path, module in list(theirs.named_modules()):
        if (new := theirs_for(module)) is not None:
            theirs.set_submodule(path, new)
    theirs.double()
    same_names(theirs, ours, check)
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        same_logits(theirs.eval(), ours.eval(), check)
    same_training(Mine({}), theirs, ours, check)
