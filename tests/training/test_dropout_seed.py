"""Dropout's random numbers are a function of the place in the run, and of nothing else."""

from itertools import product

import torch

from transformer.training.parallel import seed_dropout


def test_each_place_has_its_own_numbers_and_always_the_same() -> None:
    drawn = {}
    for place in product((0, 1), (1, 2), (0, 1)):  # seed, step, micro-batch
        seed_dropout(*place)
        drawn[place] = torch.rand(4)
    torch.rand(100)  # whatever was drawn before does not matter
    for place, numbers in drawn.items():
        seed_dropout(*place)
        assert torch.equal(torch.rand(4), numbers)
    assert len({tuple(numbers.tolist()) for numbers in drawn.values()}) == 8
