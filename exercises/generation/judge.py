"""The judge of generation with a KV cache."""

from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from exercises.generation.counting import STOPS, Counter, V, best, run, shown
from exercises.judging.check import Check
from exercises.judging.inside import CONFIG, reference
from transformer.generation import generate as our_generate
from transformer.kv_cache import KVCache
from transformer.sampling import draw

FORBIDDEN = {
    "transformer.generation.generate": "it is our solution",
    "transformer.generation.stream": "it is our solution",
    "transformer.generation.generate_steps": "it is our solution",
    "transformer.generation.CachedDecoder": "it is our solution",
    "transformer.generation.prefill": "it is half of our solution",
    "transformer.generation.decode_one_token": "it is half of our solution",
}


def in_small(yours: ModuleType, check: Check) -> None:
    """A model that counts: first one row, then what it was called with, then where rows end."""
    _one_row(yours, check)
    _modes(yours, check)
    _choices(yours, check)
    _stops(yours, check)
    _edges(yours, check)


def _one_row(yours: ModuleType, check: Check) -> None:
    """The prompt falls, so that its first position continues otherwise than its last."""
    prompts, given = [[9, 2, 5]], shown([[9, 2, 5]], 3)
    result, model = run(yours, prompts, 3, choose=_picky(check, 1))
    _calls(model, given, check)
    check.that(
        not (isinstance(result, Tensor) and result.tolist() == [[6, 7, 8]]),
        given=given,
        came=result,
        expected=torch.tensor([[9, 2, 5, 6, 7, 8]]),
        mistake="only the new tokens are returned: the prompt belongs in front of them",
    )
    check.equal(
        result,
        torch.tensor([[9, 2, 5, 6, 7, 8]]),
        given=given,
        mistakes={
            "the first position's logits are taken; the last one's are for the next token": (
                torch.tensor([[9, 2, 5, 10, 11, 12]])
            ),
        },
        otherwise="the text is wrong",
    )


def _calls(model: Counter, given: str, check: Check) -> None:
    lengths = [length for length, _ in model.calls]
    expected = "positions per call of the model: [3, 1, 1]"
    for wrong, mistake in (
        (
            not all(cached for _, cached in model.calls),
            "a call of the model came without the cache",
        ),
        (
            lengths[:3] == [3, 4, 5],
            "the whole text is read again for each token: what is in the cache need not be, and "
            "reading it twice appends it twice",
        ),
        (
            lengths[:3] == [3, 3, 3],
            "the model reads the prompt again; it should read the new token",
        ),
        (lengths[:2] == [1, 1], "the prompt is read token by token: one call reads it all at once"),
        (
            lengths == [3, 1, 1, 1],
            "there is one call too many: nobody needs what comes after the last token, and the "
            "cache may have no room for it",
        ),
        (lengths != [3, 1, 1], "the model is called in another way than needed"),
    ):
        check.that(
            not wrong,
            given=given,
            came=f"positions per call of the model: {lengths}"
            + ("" if all(cached for _, cached in model.calls) else ", some without the cache"),
            expected=expected,
            mistake=mistake,
        )


def _modes(yours: ModuleType, check: Check) -> None:
    for training in (True, False):
        model = Counter().train(training)
        yours.generate(model, KVCache(CONFIG, 1), torch.tensor([[1]]), 2, best)
        given = f"{shown([[1]], 2)}, the model is {'' if training else 'not '}in training mode"
        trained, recorded = (any(values) for values in zip(*model.modes, strict=True))
        check.that(
            not trained,
            given=given,
            came="training mode in a call of the model",
            expected="model.eval() before",
            mistake="dropout is still on: the text would be written with parts missing",
        )
        check.that(
            not recorded,
            given=given,
            came="a call of the model that records gradients",
            expected="torch.no_grad()",
            mistake="gradients are recorded: memory grows with each token, for a backward that "
            "never comes",
        )
        check.that(
            model.training == training,
            given=given,
            came=f"model.training is {model.training} afterwards",
            expected=training,
            mistake="the model is left in another mode: training would continue without dropout"
            if training
            else "the model is left in another mode: it was not in training before",
        )


def _picky(check: Check, rows: int) -> Callable[[Tensor], Tensor]:
    """The best token, if it is asked with the right logits."""

    def choose(logits: Tensor) -> Tensor:
        check.that(
            logits.shape == (rows, V),
            given=f"a model that counts, {rows} prompts",
            came=f"a call of choose with logits {tuple(logits.shape)}",
            expected=f"calls of choose with logits {(rows, V)}",
            mistake="choose gets the logits of the last position, (B, V): all rows, all tokens",
        )
        return best(logits)

    return choose


def _choices(yours: ModuleType, check: Check) -> None:
    """`choose` gets (B, V), once per token, and its word counts."""
    prompts, seen = [[1, 4], [3, 0]], list[None]()
    given = f"{shown(prompts, 2)}\nchoose takes the best id + 1"

    def choose(logits: Tensor) -> Tensor:
        seen.append(None)
        return _picky(check, 2)(logits) + 1  # every second number

    result = run(yours, prompts, 2, choose=choose)[0]
    check.that(
        len(seen) == 2,
        given=given,
        came=f"{len(seen)} calls",
        expected="2 calls",
        mistake="`choose` is to be called once per new token" if seen else "`choose` is not called",
    )
    check.equal(
        result,
        torch.tensor([[1, 4, 6, 8], [3, 0, 2, 4]]),
        given=given,
        mistakes={
            "the best token is taken, whatever choose says": torch.tensor(
                [[1, 4, 5, 6], [3, 0, 1, 2]]
            )
        },
        otherwise="the tokens that choose returned are not those in the text",
    )


def _stops(yours: ModuleType, check: Check) -> None:
    for prompts, stop_id, expected, mistakes in STOPS:
        came, given = run(yours, prompts, 4, stop_id)[0], shown(prompts, 4, stop_id)
        if not isinstance(came, Tensor):
            check.shape(came, torch.tensor(expected), given=given)
        for mistake, wrong in mistakes.items():
            check.that(
                came.tolist() != wrong,
                given=given,
                came=came,
                expected=torch.tensor(expected),
                mistake=mistake,
            )
        check.equal(
            came, torch.tensor(expected), given=given, otherwise="with a stop_id the text is wrong"
        )


def _edges(yours: ModuleType, check: Check) -> None:
    check.equal(
        run(yours, [[1, 4]], 0)[0],
        torch.tensor([[1, 4]]),
        given=shown([[1, 4]], 0),
        otherwise="with no new token the text is the prompt",
    )
    came = run(yours, [[18], [17]], 4, 0)[0]
    check.that(
        came.tolist() == [[18, 19, 0, 0], [17, 18, 19, 0]],
        given=shown([[18], [17]], 4, 0),
        came=came,
        expected=torch.tensor([[18, 19, 0, 0], [17, 18, 19, 0]]),
        mistake="a stop_id of 0 is ignored: ask `is not None`, because 0 counts as false",
    )


def at_random(yours: ModuleType, check: Check) -> None:
    """A real model against the same without a cache, token by token."""
    model = reference().eval()
    for B, T, new in [(1, 1, 9), (2, 3, 7), (3, 8, 2), (4, 9, 1), (2, 5, 0), (1, 2, 3)]:
        ids = torch.randint(CONFIG.vocab_size, (T, B)).T  # not contiguous
        expected = ids
        for _ in range(new):
            with torch.no_grad():
                expected = torch.cat([expected, best(model(expected)[:, -1])[:, None]], dim=1)
        cache = KVCache(CONFIG, B, dtype=torch.float64)
        check.equal(
            yours.generate(model, cache, ids, new, best),
            expected,
            given=f"a model of 2 blocks, prompts ({B}, {T}), {new} new tokens, the best each time",
            otherwise="without a cache the model writes another text",
        )
        if new:
            check.that(
                cache.length == T + new - 1,
                given=f"prompts ({B}, {T}), {new} new tokens",
                came=f"{cache.length} positions in the cache",
                expected=f"{T + new - 1} positions",
                mistake="the cache holds other positions than were needed",
            )


def in_the_model(yours: ModuleType, check: Check) -> None:
    """Against our own generation: greedy, with a stop, and with random numbers."""
    model = reference().train()
    for prompts in ([[3, 1, 4]], [[3, 1, 4], [2, 7, 1], [0, 22, 9]]):
        ids, rows = torch.tensor(prompts), len(prompts)
        given = f"a model of 2 blocks, prompts = {prompts}, 6 new tokens"
        greedy = our_generate(model, ids, 6, temperature=0.0, use_cache=False)
        stop_id = int(greedy[0, 5])
        expected = our_generate(model, ids, 6, temperature=0.0, use_cache=False, stop_ids=[stop_id])
        for stop, text in ((None, greedy), (stop_id, expected)):
            cache = KVCache(CONFIG, rows, dtype=torch.float64)
            check.equal(
                yours.generate(model, cache, ids, 6, best, stop),
                text,
                given=f"{given}, the best each time, stop_id = {stop}",
                otherwise="our generate, without a cache, writes another text",
            )
        generators = [torch.Generator().manual_seed(8) for _ in prompts]

        def choose(logits: Tensor, generators: list[torch.Generator] = generators) -> Tensor:
            return draw(logits.softmax(-1), generators)

        check.equal(
            yours.generate(model, KVCache(CONFIG, rows, dtype=torch.float64), ids, 6, choose),
            our_generate(model, ids, 6, seed=8),
            given=f"{given}, drawn with the same random numbers",
            otherwise="our generate writes another text",
        )


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    model = reference()
    cache = KVCache(CONFIG, 2, dtype=torch.float64)
    return module.generate(model, cache, torch.tensor([[1], [2]]), 8, best)
