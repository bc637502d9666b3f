"""Our models in other programs: the same logits, ids and text, from the folder alone."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from published_models import SPECIAL, publish
from training_tools import call, continue_training, train
from transformers import AutoModelForCausalLM
from variant_tools import VARIANTS

from transformer.config import ModelConfig, Variant
from transformer.data.bpe import train_bpe
from transformer.data.toy.source import tokenizer_stories
from transformer.errors import UserError
from transformer.generation import generate
from transformer.ladder.build import build_model
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import LoadedModel, read_model_file, write_model_file
from transformer.sharing.families.known import FAMILIES, family_for
from transformer.sharing.hugging_face import export_model
from transformer.sharing.import_model import import_model

TOKENIZER = train_bpe([*tokenizer_stories()][:30], 300)
CONFIG = ModelConfig(TOKENIZER.vocab_size, 32, 4, 2, 48, max_seq_len=24, dropout=0.0)
LLAMA = {"positions": "rotary", "norm": "rms", "bias": False, "feed_forward": "swiglu"}
NANOCHAT = {**LLAMA, "feed_forward": "relu2", "norm_gain": False, "embedding_norm": True}
PLAIN = {"qk_norm": "plain", "qk_scale": 1.0}
WRITTEN: dict[str, tuple[str, dict[str, Any]]] = {
    "classic": ("gpt2", {}),
    "scaled": ("gpt2", VARIANTS["scaled"]),
    "learned": ("gpt2", {"positions": "learned", "embedding_scale": 1.0}),
    "plain norms": ("gpt2", VARIANTS["plain norms"]),
    "relu2": ("gpt2", VARIANTS["relu2"]),
    "gelu_tanh": ("gpt2", VARIANTS["gelu_tanh"]),
    "untied": ("gpt2", VARIANTS["untied"]),
    "llama": ("llama", LLAMA),
    "llama, grouped": ("llama", {**LLAMA, "n_kv_heads": 2, "embedding_scale": 1.0}),
    "llama, biased": ("llama", {**LLAMA, "bias": True, "norm_gain": False, "norm_eps": 1e-3}),
    "qwen3": ("qwen3", {**LLAMA, "qk_norm": "gain", "head_size": 6, "tied_embeddings": False}),
    "qwen3, constant": ("qwen3", {**LLAMA, "qk_norm": "plain", "qk_scale": 1.3}),
    "nanochat": ("nanochat", {**NANOCHAT, **PLAIN, "logit_softcap": 15.0}),
    "nanochat, untied": ("nanochat", {**NANOCHAT, **PLAIN, "tied_embeddings": False}),
}
SHORT = ("--dataset", "toy", "--seq-length", "160")
PROMPT = "Once there was a shy"


def model_of(case: str) -> DecoderOnlyTransformer:
    torch.manual_seed(len(case))
    model = build_model(replace(CONFIG, variant=Variant(**WRITTEN[case][1]))).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@torch.no_grad()
@pytest.mark.parametrize("case", WRITTEN)
def test_transformers_computes_the_logits(case: str, tmp_path: Path) -> None:
    model = model_of(case)
    export_model(model, TOKENIZER, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == WRITTEN[case][0]
    theirs, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.randint(CONFIG.vocab_size, (3, 24))
    expected = model(ids)
    assert expected.std() > 0.1
    torch.testing.assert_close(theirs.eval()(ids).logits, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "case", ["rms", "skip", "values", "softcap", "window", "numbers", "grouped", "all"]
)
def test_what_has_no_equal_is_named(case: str, tmp_path: Path) -> None:
    config = replace(CONFIG, variant=Variant(**VARIANTS[case]))
    with pytest.raises(UserError, match="no architecture of gpt2, llama, qwen3, nanochat") as said:
        family_for(config)
    fields = [part.split("=")[0].split()[-1] for part in str(said.value).split(", ") if "=" in part]
    assert fields
    assert all(hasattr(config.variant, field) for field in fields)
    for family in FAMILIES.values():
        assert family.differences(config)


SCRIPT = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

written = []
for folder in sys.argv[2:]:
    write = pipeline("text-generation", folder)
    said = write(sys.argv[1], max_new_tokens=12, do_sample=False)[0]["generated_text"]
    model = AutoModelForCausalLM.from_pretrained(folder)
    inputs = AutoTokenizer.from_pretrained(folder)(sys.argv[1], return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=12, do_sample=False)[0].tolist()
    written.append([said, ids])
print(json.dumps(written))
"""


def greedy(loaded: LoadedModel) -> tuple[str, list[int]]:
    tokenizer = loaded.tokenizer
    prompt = torch.tensor([tokenizer.encode_prompt(PROMPT)])
    stop = (tokenizer.end_of_text,)
    ids = generate(loaded.model, prompt, 12, temperature=0.0, stop_ids=stop)[0].tolist()
    specials = {tokenizer.end_of_text, tokenizer.start_of_text}
    return tokenizer.decode([i for i in ids if i not in specials]), ids


@pytest.mark.slow
def test_a_pipeline_in_another_process_writes_the_same_text(tmp_path: Path) -> None:
    """Of our own models in each family's form, and of imported ones that leave again."""
    expected, folders = [], []
    for case in ("classic", "llama", "qwen3", "nanochat"):
        path = tmp_path / case / "model.safetensors"
        write_model_file(path, model_of(case), TOKENIZER, step=1)
        publish(case.replace("classic", "gpt2"), tmp_path / f"{case} there")
        import_model(tmp_path / f"{case} there", tmp_path / f"{case} here")
        for name in (case, f"{case} here"):
            loaded = read_model_file(tmp_path / name / "model.safetensors")
            folders.append(tmp_path / f"{name} exported")
            export_model(loaded.model, loaded.tokenizer, folders[-1])
            expected.append(greedy(loaded))
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT, PROMPT, *map(str, folders)],
        capture_output=True, text=True, timeout=240, cwd=tmp_path,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert [tuple(each) for each in json.loads(said.stdout.splitlines()[-1])] == expected
    assert len({text for text, _ in expected}) > 4


def test_a_classic_model_comes_back_with_learned_positions(tmp_path: Path) -> None:
    model = model_of("classic")
    export_model(model, TOKENIZER, tmp_path / "out")
    import_model(tmp_path / "out", tmp_path / "in")
    loaded = read_model_file(tmp_path / "in" / "model.safetensors")
    ids = torch.randint(CONFIG.vocab_size, (2, 24))
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids), model(ids), rtol=0, atol=1e-5)
    assert loaded.model.config.variant.positions == "learned"
    assert loaded.tokenizer.encode_prompt(PROMPT) == TOKENIZER.encode_prompt(PROMPT)


@pytest.mark.slow
def test_the_card_says_what_it_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train("--steps", "5", "--name", "short", *SHORT) == 0
    assert call("export_hf", "short", "--output", "out") == 0
    assert 'transformers.pipeline("text-generation", "out")' in capsys.readouterr().out
    card = Path("out/README.md").read_text()
    assert "Trained on toy, for 5 steps, by" in card
    assert "uv run python commands/train.py --dataset toy " in card
    assert " --steps 5 " in card
    text = Path("runs/short/metrics.jsonl").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    loss = next(r["val_loss"] for r in records if "val_loss" in r and r["step"] == 5)
    assert f"{loss:.4f} nats per token" in card
    assert "sinusoidal positions" in card
    assert continue_training("--from", "runs/short", "--steps", "1", *SHORT, "--name", "on") == 0
    assert call("export_hf", "on", "--output", "on") == 0
    card = Path("on/README.md").read_text()
    assert "Fine-tuned on toy, for 1 steps" in card
    assert "--dataset toy --from runs/short/checkpoint-00000005/model.safetensors --" in card
    assert "--d-model" not in card
    publish("gpt2", tmp_path / "tiny")
    assert call("import_hf", "tiny") == 0
    assert call("export_hf", "runs/tiny", "--output", "again") == 0
    assert "imported from tiny" in Path("again/README.md").read_text()
    assert call("export_hf", "runs/tiny", "--output", "tiny") == 2
    assert "not from such an export" in capsys.readouterr().err
    assert SPECIAL[0] in Path("again/tokenizer.json").read_text()
