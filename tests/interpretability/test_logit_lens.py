"""The lens' last row is the output; contributions sum to the logit."""

import pytest
import torch
from interpretability import planted
from torch.nn import functional as F

from transformer.config import ModelConfig
from transformer.interpretability.attribution import logit_contributions, residual_writes
from transformer.interpretability.copying_heads import copying_scores
from transformer.interpretability.hooks import record
from transformer.interpretability.induction import (
    NOT_REPEATED,
    Repeats,
    attention_weights,
    repeated_random_tokens,
)
from transformer.interpretability.logit_lens import logit_lens, read_residual
from transformer.model import DecoderOnlyTransformer

IDS = torch.randint(61, (1, 16), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def lively_model(tiny_model: DecoderOnlyTransformer) -> DecoderOnlyTransformer:
    """Every parameter random and of size, biases and norms included, as after training."""
    with torch.no_grad():
        for parameter in tiny_model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return tiny_model


def test_the_last_row_is_the_output_exactly(lively_model: DecoderOnlyTransformer) -> None:
    last = record(lively_model, IDS, ["blocks.2.residual"])["blocks.2.residual"]
    with torch.no_grad():  # as the recording: with gradients attention takes another path
        assert torch.equal(read_residual(lively_model, last), lively_model(IDS))
    lens = logit_lens(lively_model, IDS, k=3)
    probabilities = lively_model(IDS)[0].softmax(dim=-1)
    assert torch.equal(lens.top_ids[-1], probabilities.topk(3).indices)
    torch.testing.assert_close(lens.top_probabilities[-1], probabilities.topk(3).values)
    assert (lens.kl[-1] == 0).all()
    assert lens.rows == ["embedding", "blocks.0.residual", "blocks.1.residual", "blocks.2.residual"]


def test_the_distance_is_the_kl_divergence_from_the_output(
    lively_model: DecoderOnlyTransformer,
) -> None:
    lens = logit_lens(lively_model, IDS)
    output = lively_model(IDS)[0].log_softmax(dim=-1)
    for row, name in enumerate(lens.rows):
        residual = record(lively_model, IDS, [name])[name]
        x = F.layer_norm(
            residual, (32,), lively_model.final_norm.weight, lively_model.final_norm.bias, 1e-5
        )
        earlier = (x @ lively_model.token_embedding.weight.T)[0].log_softmax(dim=-1)
        expected = F.kl_div(earlier, output, reduction="none", log_target=True).sum(dim=-1)
        torch.testing.assert_close(lens.kl[row], expected, atol=1e-5, rtol=1e-4)
        assert torch.equal(lens.top_ids[row, :, 0], earlier.argmax(dim=-1))


def test_the_lens_shows_the_layer_in_which_a_planted_head_answers() -> None:
    ids = repeated_random_tokens(planted.V, 0, length=8, count=1).ids
    lens = logit_lens(planted.induction_model(), ids, k=1)
    answer = ids[0, 9]  # what follows the last token's first occurrence
    assert lens.top_ids[0, -1, 0] == ids[0, -1]  # the embedding says the token itself
    assert lens.top_ids[2, -1, 0] == answer
    assert lens.top_ids[1, -1, 0] != answer


def test_contributions_sum_to_the_logit(lively_model: DecoderOnlyTransformer) -> None:
    ids = torch.randint(61, (3, 16))
    tokens = torch.randint(61, (3, 16))
    contributions = logit_contributions(lively_model, ids, tokens)
    assert len(contributions) == 2 + 3 * (4 + 3) + 1
    logits = lively_model(ids).gather(-1, tokens[..., None])[..., 0]
    total = torch.stack(list(contributions.values())).sum(dim=0)
    assert (total - logits).abs().max() <= 1e-4
    assert logits.std() > 1  # so that the agreement says something


def test_contributions_sum_to_the_logit_in_the_default_model() -> None:
    model = DecoderOnlyTransformer(ModelConfig(vocab_size=2000)).eval()
    ids, tokens = torch.randint(2000, (2, 1, 100))
    total = torch.stack(list(logit_contributions(model, ids, tokens).values())).sum(dim=0)
    assert (total - model(ids).gather(-1, tokens[..., None])[..., 0]).abs().max() <= 1e-4


def test_the_writes_of_the_heads_sum_to_the_attention_output(
    lively_model: DecoderOnlyTransformer,
) -> None:
    writes = residual_writes(lively_model, IDS)
    output = record(lively_model, IDS, ["blocks.1.attention.output"])["blocks.1.attention.output"]
    names = [name for name in writes if name.startswith("blocks.1.attention")]
    torch.testing.assert_close(sum(writes[name] for name in names), output)


def test_the_planted_head_wrote_the_answer() -> None:
    ids = repeated_random_tokens(planted.V, 0, length=8, count=1).ids
    answers = ids[:, 9].expand(ids.shape)
    contributions = logit_contributions(planted.induction_model(), ids, answers)
    at_the_end = {name: float(value[0, -1]) for name, value in contributions.items()}
    assert max(at_the_end, key=lambda name: at_the_end[name]) == "blocks.1.attention.heads.2"


@torch.no_grad()
def test_copying_scores_equal_sums_by_hand(lively_model: DecoderOnlyTransformer) -> None:
    ids = torch.tensor([[7, 1, 2, 2, 1, 2, 3]])
    first = torch.tensor([[-1, -1, -1, -1, 1, 2, -1]])
    found = copying_scores(lively_model, Repeats(ids, first))
    weights = attention_weights(lively_model, ids)  # (3, 1, 4, 7, 7)
    heads = [record(lively_model, ids)[f"blocks.{i}.attention.heads"][0] for i in range(3)]
    for layer in range(3):
        projection = lively_model.blocks[layer].attention.output_projection.weight
        for head in range(4):
            ratios = []
            for t in [t for t in range(7) if first[0, t] != NOT_REPEATED]:
                write = projection[:, 8 * head : 8 * head + 8] @ heads[layer][head, t]
                direct = (write - write.mean()) * lively_model.final_norm.weight
                logits = lively_model.token_embedding.weight @ direct
                raised = (logits - logits.mean()).relu()
                row = weights[layer, 0, head, t]
                attended = sum(row[s] * raised[ids[0, s]] for s in range(t + 1))
                total = sum(raised[v] for v in set(ids[0, : t + 1].tolist()))
                ratios.append(float(attended / total) if total > 0 else 0.0)
            expected = 2 * sum(ratios) / len(ratios) - 1
            assert float(found[layer, head]) == pytest.approx(expected, abs=1e-4)
