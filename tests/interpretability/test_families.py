"""The tools inside the families that people publish, against the models of `transformers`.

What ours says of a model is computed again from theirs: its hidden states, its attentions, and
what it makes of activations that hooks change.
"""

from collections.abc import Iterator

import pytest
import torch
from interpretability.theirs import Theirs
from ladder.references import FAMILIES, LAYERS, H, T, V
from torch import Tensor, nn
from torch.nn import functional as F

from transformer.interpretability.ablation import Component, components, replacements, token_losses
from transformer.interpretability.attribution import logit_contributions, residual_writes
from transformer.interpretability.copying_heads import copying_scores
from transformer.interpretability.hooks import record
from transformer.interpretability.induction import (
    by_block,
    duplicate_token_scores,
    induction_scores,
    repeated_random_tokens,
)
from transformer.interpretability.logit_lens import logit_lens
from transformer.interpretability.patching import Patch, PromptPair, run_patches, sweep, sweep_heads
from transformer.model import DecoderOnlyTransformer

IDS = torch.randint(V, (2, T), generator=torch.Generator().manual_seed(3))


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Iterator[tuple[DecoderOnlyTransformer, Theirs]]:
    ours, theirs = FAMILIES[request.param]()
    with torch.no_grad():
        yield ours.double(), Theirs(theirs.double())


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Some of their norms compute in float32 whatever the weights are."""
    torch.testing.assert_close(
        found, expected, atol=tolerance, rtol=tolerance, check_dtype=False, check_stride=False
    )


def softcapped(logits: Tensor, cap: float | None) -> Tensor:
    return logits if cap is None else cap * torch.tanh(logits / cap)


def test_streams_and_attention_are_theirs(family) -> None:
    ours, theirs = family
    recorded = record(ours, IDS)
    expected = theirs.model(IDS, output_hidden_states=True, output_attentions=True)
    streams = [
        *(recorded[f"blocks.{i}.residual"] for i in range(LAYERS - 1)),
        recorded["final_norm"],
    ]
    for found, hidden in zip(
        [recorded["embedding"], *streams], expected.hidden_states, strict=True
    ):
        close(found, hidden)
    for i, weights in enumerate(expected.attentions):
        close(recorded[f"blocks.{i}.attention.weights"], weights)
    close(recorded["logits"], expected.logits)


def test_the_lens_reads_what_their_head_reads(family) -> None:
    ours, theirs = family
    ids = IDS[:1]
    lens = logit_lens(ours, ids, k=3)
    embedding = theirs.model(ids, output_hidden_states=True).hidden_states[0]
    streams = [embedding, *(theirs.seen(f"blocks.{i}.residual", ids) for i in range(LAYERS))]
    output = theirs.model(ids).logits[0].softmax(dim=-1)  # (T, V)
    for row, stream in enumerate(streams):
        reading = softcapped(theirs.read(stream), theirs.cap)[0].softmax(dim=-1)  # (T, V)
        top = reading.topk(3, dim=-1)
        assert torch.equal(lens.top_ids[row], top.indices)
        close(lens.top_probabilities[row], top.values)
        close(lens.kl[row], (output * (output / reading).log()).sum(dim=-1))
    close(lens.top_probabilities[-1], output.topk(3, dim=-1).values)
    assert lens.kl[-1].abs().max() < 1e-6 < 0.01 < lens.kl[0].max()


def test_attribution_splits_their_logit_before_the_softcap(family) -> None:
    ours, theirs = family
    tokens = torch.randint(V, IDS.shape, generator=torch.Generator().manual_seed(4))
    total = sum(logit_contributions(ours, IDS, tokens).values())
    raw = theirs.read(theirs.seen(f"blocks.{LAYERS - 1}.residual", IDS))  # (B, T, V)
    close(total, raw.gather(-1, tokens[..., None])[..., 0])
    logits = theirs.model(IDS).logits
    close(softcapped(raw, theirs.cap), logits)
    assert (theirs.cap is None) == torch.allclose(raw, logits)
    last = logit_contributions(ours, IDS, tokens[:, -1:], slice(T - 1, T))
    close(sum(last.values()), total[:, -1:])


def test_each_write_is_what_their_part_adds(family) -> None:
    ours, theirs = family
    writes = residual_writes(ours, IDS)
    first = theirs.model(IDS, output_hidden_states=True).hidden_states[0]
    close(writes["embedding"] + writes["positions"], first)
    for i in range(LAYERS):
        joined = theirs.seen(f"blocks.{i}.attention.heads", IDS)  # (B, T, H · K)
        nothing = theirs.writers[i](torch.zeros_like(joined))  # the bias, if there is one
        bias = writes.get(f"blocks.{i}.attention.output_projection.bias", torch.zeros_like(first))
        close(bias, nothing)
        for h in range(H):
            alone = torch.zeros_like(joined).view(*IDS.shape, H, -1)
            alone[:, :, h] = joined.view_as(alone)[:, :, h]
            expected = theirs.writers[i](alone.flatten(2)) - nothing
            close(writes[f"blocks.{i}.attention.heads.{h}"], expected)
        bias = writes.get(f"blocks.{i}.feed_forward.contract.bias", torch.zeros_like(first))
        expected = theirs.seen(f"blocks.{i}.feed_forward.output", IDS)
        close(writes[f"blocks.{i}.feed_forward"] + bias, expected)


@pytest.fixture
def pair(family) -> PromptPair:
    """Prompts that differ early, and the two tokens between which that makes most difference."""
    corrupted = IDS[0].clone()
    corrupted[5:8] = (corrupted[5:8] + 7) % V
    clean_logits, logits = family[0](torch.stack([IDS[0], corrupted]))[:, -1]
    moved = clean_logits - logits  # (V,)
    return PromptPair(IDS[0], corrupted, int(moved.argmax()), int(moved.argmin()))


def test_patching_everything_recovers_1_and_nothing_0(family, pair: PromptPair) -> None:
    ours, _ = family
    blocks = range(LAYERS)
    sums = [Patch(f"blocks.{i}.attention.output") for i in blocks]
    heads = [Patch(f"blocks.{i}.attention.heads") for i in blocks]
    neurons = [Patch(f"blocks.{i}.feed_forward.output") for i in blocks]
    everything = [
        [Patch("embedding")],
        *([Patch(f"blocks.{i}.residual")] for i in blocks),
        [Patch(f"blocks.{LAYERS - 1}.residual", T - 1)],
        [Patch("final_norm", T - 1)],
        [*sums, *neurons],  # the last token is the same: only what is written onto it differs
        [*heads, *neurons],
    ]
    nothing = [[], [Patch("embedding", T - 1)], [Patch("blocks.0.residual", 4)]]
    recovered = run_patches(ours, pair, [*everything, *nothing]).recovered
    close(recovered[: len(everything)], torch.ones(len(everything)))
    close(recovered[len(everything) :], torch.zeros(len(nothing)))


def test_sweeps_equal_their_model_with_one_value_replaced(family, pair: PromptPair) -> None:
    ours, theirs = family

    def difference(ids: Tensor) -> float:
        last = theirs.model(ids[None]).logits[0, -1]
        return float(last[pair.clean_answer] - last[pair.corrupted_answer])

    clean, corrupted = difference(pair.clean), difference(pair.corrupted)

    def recovered(tap: str, where: tuple[slice | int, ...]) -> float:
        value = theirs.seen(tap, pair.clean[None])

        def paste(activation: Tensor) -> Tensor:
            by_head = value.shape[:-1] + ((H, -1) if tap.endswith(".heads") else (1, -1))
            changed = activation.clone().view(by_head)
            changed[where] = value.view(by_head)[where]
            return changed.view_as(activation)

        with theirs.changing(tap, paste):
            return (difference(pair.corrupted) - corrupted) / (clean - corrupted)

    for site in ("residual", "attention.output", "feed_forward.output"):
        expected = [
            [recovered(f"blocks.{i}.{site}", (0, t)) for t in range(T)] for i in range(LAYERS)
        ]
        close(sweep(ours, pair, site), torch.tensor(expected))
    expected = [
        [recovered(f"blocks.{i}.attention.heads", (0, slice(None), h)) for h in range(H)]
        for i in range(LAYERS)
    ]
    close(sweep_heads(ours, pair), torch.tensor(expected))


@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_ablation_equals_their_model_without_the_part(family, kind) -> None:
    ours, theirs = family
    targets = IDS.roll(-1, dims=1)
    targets[:, -1] = -100
    counts = targets != -100
    values = replacements(ours, IDS, kind, counts)
    assert list(values) == components(ours)
    for part, value in values.items():

        def without(activation: Tensor, part: Component = part) -> Tensor:
            heads = 1 if part.head is None else H
            changed = activation.clone().view(*IDS.shape, heads, -1)
            mean = theirs_value(activation, heads, part.head or 0)
            changed[:, :, part.head or 0] = mean
            return changed.view_as(activation)

        def theirs_value(activation: Tensor, heads: int, head: int) -> Tensor:
            by_head = activation.view(*IDS.shape, heads, -1)[:, :, head]
            return by_head[counts].mean(dim=0) if kind == "mean" else torch.zeros(by_head.size(-1))

        with theirs.changing(part.tap, without):
            logits = theirs.model(IDS).logits
        expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        close(token_losses(ours, IDS, targets, part, value).flatten(), expected)


def test_induction_scores_are_those_of_their_attention(family) -> None:
    ours, theirs = family
    length = T // 2 - 1
    repeats = repeated_random_tokens(V, end_of_text=0, length=length, count=3)
    attentions = theirs.model(repeats.ids, output_attentions=True).attentions
    for score, offset in ((induction_scores, 1), (duplicate_token_scores, 0)):
        found = by_block(ours, repeats.ids, lambda w, score=score: score(w, repeats))
        for i in range(LAYERS):
            for h in range(H):
                looks = [
                    float(attentions[i][b, h, length + k, k + offset])
                    for b in range(3)
                    for k in range(1, length)
                ]
                assert float(found[i, h]) == pytest.approx(sum(looks) / len(looks), abs=1e-6)


def test_copying_scores_equal_the_definition_token_by_token(family) -> None:
    """With the whole vocabulary's logits of every write; a softcap comes after, and is left out."""
    ours, theirs = family
    length = T // 2 - 1
    repeats = repeated_random_tokens(V, end_of_text=0, length=length, count=2)
    attentions = theirs.model(repeats.ids, output_attentions=True).attentions
    centred = isinstance(theirs.final_norm, nn.LayerNorm)
    gain = getattr(theirs.final_norm, "weight", torch.ones(()))
    found = copying_scores(ours, repeats)
    for i in range(LAYERS):
        writer = theirs.writers[i]
        joined = theirs.seen(f"blocks.{i}.attention.heads", repeats.ids)
        for h in range(H):
            alone = torch.zeros_like(joined).view(*joined.shape[:2], H, -1)
            alone[:, :, h] = joined.view_as(alone)[:, :, h]
            write = writer(alone.flatten(2)) - writer(torch.zeros_like(joined))
            write = write - write.mean(dim=-1, keepdim=True) if centred else write
            logits = theirs.model.lm_head(write * gain)  # (B, T, V)
            ratios = []
            for b, row in enumerate(repeats.ids.tolist()):
                for t in range(length + 1, 2 * length):
                    raised = (logits[b, t] - logits[b, t].mean()).relu()
                    attended = sum(
                        float(attentions[i][b, h, t, s] * raised[row[s]]) for s in range(t + 1)
                    )
                    total = sum(float(raised[v]) for v in set(row[: t + 1]))
                    ratios.append(attended / total if total else 0.0)
            assert float(found[i, h]) == pytest.approx(2 * sum(ratios) / len(ratios) - 1, abs=1e-5)


def test_random_tokens_of_the_largest_vocabularies() -> None:
    repeats = repeated_random_tokens(151_669, end_of_text=151_643, count=4)
    assert repeats.ids.shape == (4, 51)
    assert (repeats.ids[:, 0] == 151_643).all()
    assert (repeats.ids[:, 1:] != 151_643).all()
    assert 100_000 < int(repeats.ids[:, 1:].max()) < 151_669
    assert torch.equal(repeats.ids[:, 1:26], repeats.ids[:, 26:])
