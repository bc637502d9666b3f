"""The third stage: a learner's part in the place of ours, inside the whole model.

Both models get the same weights. Then everything must be equal: logits, with and without a cache,
the gradient of every weight, and all weights after two steps of training. In float64: there are
gradients that are exactly 0 (softmax does not notice the keys' bias), and AdamW would make steps of
usual size of their rounding.
"""

import torch
from torch import nn

from exercises.judging.check import Check
from transformer.config import ModelConfig
from transformer.kv_cache import KVCache
from transformer.model import DecoderOnlyTransformer
from transformer.training.mine import Mine

CONFIG = ModelConfig(23, d_model=12, n_heads=3, n_layers=2, d_ff=20, max_seq_len=9, dropout=0.0)
IDS = torch.randint(23, (2, 9), generator=torch.Generator().manual_seed(0))
TARGETS = torch.randint(23, (2, 9), generator=torch.Generator().manual_seed(1))
TARGETS[0, :4] = -100
TOLERANCE = 1e-6
GIVEN = "a model of 2 blocks with your part in it, and ours, with the same weights"


def reference() -> DecoderOnlyTransformer:
    """Our model with weights at random, gains and biases too."""
    model = DecoderOnlyTransformer(CONFIG).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(0.3 * noise + (parameter.dim() == 1) * parameter)
    return model


def same_inside(mine: Mine, check: Check) -> None:
    """The whole stage for a part that the model is built of."""
    ours = reference()
    theirs = mine.model(CONFIG).double()
    same_names(theirs, ours, check)
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        same_logits(theirs.eval(), ours.eval(), check)
    same_gradient_of_logits(theirs, ours, check)
    same_training(mine, theirs, ours, check)


def same_gradient_of_logits(
    theirs: DecoderOnlyTransformer, ours: DecoderOnlyTransformer, check: Check
) -> None:
    """Training takes another way to the loss, so what `forward` detaches shows only here."""
    gradients = []
    for model in (theirs, ours):
        model.zero_grad()
        model(IDS).square().mean().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, expected in gradients[1].items():
        found = gradients[0][name]
        check.equal(
            torch.zeros_like(ours.get_parameter(name)) if found is None else found,
            torch.zeros_like(ours.get_parameter(name)) if expected is None else expected,
            given=f"{GIVEN}; the gradient of the logits' mean square",
            otherwise=f"the gradient of {name} is another: is something detached?",
            tolerance=TOLERANCE,
        )


def same_logits(theirs: DecoderOnlyTransformer, ours: DecoderOnlyTransformer, check: Check) -> None:
    """All at once, and in chunks of 4, 1 and 4 positions with a cache."""
    check.equal(
        theirs(IDS), ours(IDS), given=GIVEN, otherwise="the logits are others", tolerance=TOLERANCE
    )
    caches = [KVCache(CONFIG, 2, dtype=torch.float64) for _ in range(2)]
    for chunk in IDS.split_with_sizes([4, 1, 4], dim=1):
        before = caches[1].length
        found, expected = (
            model(chunk, cache) for model, cache in zip((theirs, ours), caches, strict=True)
        )
        check.equal(
            found,
            expected,
            given=f"{GIVEN}; {chunk.size(1)} positions after {before} cached ones",
            otherwise="with a cache the logits are others",
            tolerance=TOLERANCE,
        )


def same_training(
    mine: Mine, theirs: nn.Module, ours: DecoderOnlyTransformer, check: Check
) -> None:
    """Gradients of every weight, and all weights after two steps."""
    theirs.train()
    ours.train()
    reference_training = Mine({})
    for step in (1, 2):
        for model, parts in ((theirs, mine), (ours, reference_training)):
            parts.training_step(model, [(IDS[:1], TARGETS[:1]), (IDS[1:], TARGETS[1:])], step)
        pairs = dict(theirs.named_parameters())
        for name, parameter in ours.named_parameters():
            found = pairs[name].grad
            if found is None or parameter.grad is None:
                check.that(
                    (found is None) == (parameter.grad is None),
                    given=GIVEN,
                    came="no gradient",
                    expected="a gradient",
                    mistake=f"no gradient reaches {name}: is something detached, or computed "
                    "under no_grad?",
                )
                continue
            check.equal(
                found,
                parameter.grad,
                given=f"{GIVEN}; step {step} of training",
                otherwise=f"the gradient of {name} is another",
                tolerance=TOLERANCE,
            )
        for name, parameter in ours.named_parameters():
            check.equal(
                pairs[name],
                parameter,
                given=f"{GIVEN}; after step {step} of training",
                otherwise=f"the weight {name} is another",
                tolerance=TOLERANCE,
            )


def same_names(theirs: nn.Module, ours: nn.Module, check: Check) -> None:
    """Weights can only be exchanged where their names and shapes are the same."""
    found = {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()}
    expected = {name: tuple(tensor.shape) for name, tensor in ours.state_dict().items()}
    if found == expected:
        return
    lacks = sorted(expected.items() - found.items())
    has = sorted(found.items() - expected.items())
    name, shape = (lacks or has)[0]
    check.fail(
        given=GIVEN,
        came=", ".join(f"{n} {s}" for n, s in has[:4]) or "nothing in its place",
        expected=", ".join(f"{n} {s}" for n, s in lacks[:4]) or "nothing more",
        mistake=f"the weights have other names or shapes than in the docstring, first {name} "
        f"{shape}: weights could not be exchanged",
    )
