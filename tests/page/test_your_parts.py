"""The exercises on the page: each step names its own, and a dropped model says what its learner
wrote."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from browser_page import INDEX
from dropped_files import choose, parts, small_tokenizer, write_raw

from exercises.contents import LIST
from transformer.config import ModelConfig
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import save_model

TABLE = "() => document.querySelector('#your_model table').textContent"
KICKER = re.compile(r'<p class="kicker">Step (\d+)</p>')


def test_each_step_names_its_exercises() -> None:
    text = INDEX.read_text(encoding="utf-8")
    found = {}
    for section in text.split("<section ")[1:]:
        step = KICKER.search(section)
        assert step is not None
        for name, title, minutes in re.findall(
            r"exercise\.py start (\w+)</code> \(([^)]*), about (\d+) minutes\)", section
        ):
            found[name] = ("ladder" if step[1] == "11" else step[1], title, int(minutes))
    assert found == {each.name: (each.step, each.title, each.minutes) for each in LIST}


@pytest.mark.slow
def test_a_dropped_model_says_which_parts_its_learner_wrote(open_page: Any, tmp_path: Path) -> None:
    page = open_page().load("#your_model")
    assert "written by you" not in page.run(TABLE)
    tokenizer = small_tokenizer()
    torch.manual_seed(0)
    model = DecoderOnlyTransformer(ModelConfig(tokenizer.vocab_size, 16, 2, 1, 32, 24))
    path = tmp_path / "model.safetensors"
    yours = {"attention": "ab" * 32, "<b>block</b>": "cd" * 32}
    save_model(path, model, tokenizer, 3, yours=yours)
    assert "is loaded" in choose(page, path)
    assert "written by youattention, <b>block</b>" in page.run(TABLE)
    header, data = parts(path)
    header["__metadata__"]["yours"] = "[1]"
    write_raw(path, header, data)
    assert "was not loaded" in choose(page, path)
    del header["__metadata__"]["yours"]
    write_raw(path, header, data)
    assert "is loaded" in choose(page, path)
    assert "written by you" not in page.run(TABLE)
