"""Text that is shown while it is written: whole characters, stop strings, explanations."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from transformer.config import ModelConfig
from transformer.data.byte_pair_tokenizer import BytePairTokenizer
from transformer.errors import UserError
from transformer.generation import Step, generate
from transformer.model import DecoderOnlyTransformer
from transformer.sampling import SamplingSettings
from transformer.terminal.text_stream import TextBuilder, harmless, stream_text
from transformer.terminal.token_choices import explain, render

BYTES = BytePairTokenizer("bpe", "bytes", {bytes([i]): i for i in range(256)}, end_of_text=256)


@given(st.text(), st.lists(st.text(min_size=1, max_size=3), max_size=3))
def test_pieces_add_up_to_the_text_before_the_first_stop(text: str, stop: list[str]) -> None:
    """One byte per token: characters and stop strings arrive in pieces."""
    text = text.encode("utf-8", errors="replace").decode()
    builder = TextBuilder(BYTES, stop)
    pieces = [builder.push(byte) for byte in text.encode()] + [builder.finish()]
    places = [(text.find(s) + len(s), text.find(s)) for s in stop if s in text]
    expected = text[: min(places)[1]] if places else text  # the stop that is complete first
    assert builder.text == "".join(pieces)
    assert builder.text == expected
    assert (builder.ended_by == "stop") == bool(places)


def test_a_split_character_is_held_back() -> None:
    builder = TextBuilder(BYTES)
    assert [builder.push(byte) for byte in "a☃b".encode()] == ["a", "", "", "☃", "b"]


def test_what_could_become_a_stop_string_is_held_back() -> None:
    builder = TextBuilder(BYTES, stop=["<end>"])
    assert [builder.push(byte) for byte in b"x<en<end>y"] == [
        "x", "", "", "", "<en", "", "", "", "", ""
    ]  # fmt: skip
    assert (builder.text, builder.ended_by) == ("x<en", "stop")


def test_end_of_text_ends_and_an_unfinished_character_shows_as_one() -> None:
    builder = TextBuilder(BYTES)
    builder.push("☃".encode()[0])
    assert builder.push(BYTES.end_of_text) == "\ufffd"
    assert builder.ended_by == "end_of_text"
    assert builder.push(65) == ""
    with pytest.raises(UserError, match="stop string is empty"):
        TextBuilder(BYTES, stop=[""])


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert harmless("a\x1b[2Jb\tc\nd\x9b") == "a\ufffd[2Jb\tc\nd\ufffd"


def test_stream_text_ends_every_sample_where_generate_does() -> None:
    config = ModelConfig(257, d_model=16, n_heads=2, n_layers=1, d_ff=16, max_seq_len=64)
    model = DecoderOnlyTransformer(config).double()
    prompt = BYTES.encode_prompt("ab")
    assert prompt == [256, 97, 98]
    builders = [TextBuilder(BYTES) for _ in range(3)]
    for step, new in stream_text(model, prompt, builders, 30, SamplingSettings(), [4, 5, 6]):
        assert step.probabilities.shape == (3, 257)
        assert len(new) == 3
    for seed, builder in zip((4, 5, 6), builders, strict=True):
        alone = generate(model, torch.tensor([prompt]), 30, seed=seed, stop_ids=(256,))
        assert builder.ids == [token for token in alone[0, 3:].tolist() if token != 256]


def test_an_explanation_says_what_each_filter_removed() -> None:
    logits = torch.full((1, 257), -torch.inf)
    logits[0, [97, 98, 99, 100]] = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    step = Step(logits, torch.tensor([98]), SamplingSettings(top_k=3, top_p=0.7))
    choice = explain(step, 0, BYTES, top=4)
    assert [candidate.token for candidate in choice.candidates] == ["a", "b", "c", "d"]
    assert choice.chosen.model_probability == pytest.approx(0.3)
    assert choice.chosen.probability == pytest.approx(3 / 7)
    assert choice.candidates[2].probability == 0
    assert [(r.filter, r.tokens) for r in choice.removals] == [("top-k", 1), ("top-p", 1)]
    assert [r.probability for r in choice.removals] == pytest.approx([0.1, 2 / 9])
    line = render(choice)
    assert "'b'" in line.plain
    assert "top-p -1 (22.2%)" in line.plain
    struck = [line.plain[s.start : s.end].strip() for s in line.spans if "strike" in str(s.style)]
    assert struck == ["'c'", "'d'"]
