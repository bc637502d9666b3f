"""Published models become ours: the same logits as the library transformers computes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from published_models import CASES, SPECIAL, V, as_published, byte_level, publish, write_tokenizer
from safetensors.torch import load_file, save_file
from training_tools import call
from transformers import AutoConfig, AutoModelForCausalLM

from transformer.errors import UserError
from transformer.generation import generate
from transformer.runs.find import find_model_file
from transformer.runs.model_file import read_model_file
from transformer.sharing.hugging_face import export_model
from transformer.sharing.import_model import import_model


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_transformers(case: str, tmp_path: Path) -> None:
    theirs = publish(case, tmp_path / "in")
    import_model(tmp_path / "in", tmp_path / "out")
    ours = read_model_file(find_model_file(tmp_path / "out")).model
    size = ours.config.max_seq_len
    for shape in ((3, size), (1, 1), (2, 7)):
        ids = torch.randint(V, shape)
        expected = theirs(ids).logits[..., :V]
        assert expected.std() > 0.1
        torch.testing.assert_close(ours(ids), expected, rtol=0, atol=1e-4)
    prompt = torch.randint(V, (2, 5))
    written = theirs.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=size - 5,
        do_sample=False,
        eos_token_id=None,
        suppress_tokens=list(range(V, theirs.config.vocab_size)) or None,
    )
    assert torch.equal(generate(ours, prompt, size - 5, temperature=0.0), written)


@torch.no_grad()
@pytest.mark.parametrize(
    "case", ["gpt2", "llama", "llama untied, one key head", "qwen3", "nanochat"]
)
def test_the_older_published_form_is_read(case: str, tmp_path: Path) -> None:
    publish(case, tmp_path / "in")
    as_published(tmp_path / "in")
    import_model(tmp_path / "in", tmp_path / "out")
    ours = read_model_file(tmp_path / "out" / "model.safetensors").model
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "in", dtype=torch.float32).eval()
    ids = torch.randint(V, (2, 40))
    torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("case", ["gpt2", "llama"])
def test_an_output_table_of_its_own_counts_though_the_configuration_ties_it(
    case: str, tmp_path: Path
) -> None:
    publish(case, tmp_path / "in")
    path = tmp_path / "in" / "model.safetensors"
    weights = load_file(path)
    table = next(t for name, t in weights.items() if name.endswith(("wte.weight", "tokens.weight")))
    for tied, output in ((True, table.clone()), (False, table.flip(0)), (True, None)):
        own = {} if output is None else {"lm_head.weight": output}
        save_file({**weights, **own}, path, metadata={"format": "pt"})
        import_model(tmp_path / "in", tmp_path / "out")
        ours = read_model_file(tmp_path / "out" / "model.safetensors").model
        assert ours.config.variant.tied_embeddings == tied
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "in", dtype=torch.float32).eval()
        ids = torch.randint(V, (2, 20))
        torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=0, atol=1e-4)
    save_file({**weights, "lm_head.weight": table[1:].clone()}, path)
    with pytest.raises(UserError, match=r"lm_head\.weight has shape \[319, 48\]"):
        import_model(tmp_path / "in", tmp_path / "out")


@torch.no_grad()
def test_the_other_names_of_gpt2s_sizes_are_read(tmp_path: Path) -> None:
    """Another number of heads would give other logits, and no error."""
    theirs = publish("gpt2", tmp_path / "in")
    path = tmp_path / "in" / "config.json"
    names = {
        "n_embd": "hidden_size",
        "n_head": "num_attention_heads",
        "n_layer": "num_hidden_layers",
        "n_positions": "max_position_embeddings",
    }
    saved = {names.get(name, name): value for name, value in json.loads(path.read_text()).items()}
    ids = torch.randint(V, (2, 20))
    for more in ({}, {"n_head": 3}):  # the library lets the other name win
        path.write_text(json.dumps({**more, **saved}))
        assert AutoConfig.from_pretrained(tmp_path / "in").n_head == 4
        import_model(tmp_path / "in", tmp_path / "out")
        ours = read_model_file(tmp_path / "out" / "model.safetensors").model
        torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", ["gpt2 wide", "llama", "qwen3 far", "nanochat"])
def test_out_and_in_again_is_the_same_file(case: str, tmp_path: Path) -> None:
    publish(case, tmp_path / "in")
    import_model(tmp_path / "in", tmp_path / "first", source="somewhere", name="a")
    loaded = read_model_file(tmp_path / "first" / "model.safetensors")
    export_model(loaded.model, loaded.tokenizer, tmp_path / "exported")
    import_model(tmp_path / "exported", tmp_path / "second", source="somewhere", name="a")
    one, other = (load_file(tmp_path / n / "model.safetensors") for n in ("first", "second"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    again = read_model_file(tmp_path / "second" / "model.safetensors")
    assert again.model.config == loaded.model.config
    assert again.tokenizer.fingerprint == loaded.tokenizer.fingerprint


def test_rows_without_a_token_are_left_out(tmp_path: Path) -> None:
    publish("nanochat padded, grouped", tmp_path / "in")
    found = import_model(tmp_path / "in", tmp_path / "out")
    assert (found.rows, found.config.vocab_size) == (64, V)
    model = read_model_file(tmp_path / "out" / "model.safetensors").model
    assert generate(model, torch.zeros(64, 1, dtype=torch.int64), 60, temperature=9.0).max() < V


def test_the_command_writes_a_run_and_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    publish("gpt2", tmp_path / "tiny")
    assert call("import_hf", "tiny") == 0
    said = capsys.readouterr().out
    assert "tiny (GPT2LMHeadModel): 3 blocks of 4 heads, width 48, learned positions" in said
    assert call("generate", "runs/tiny", "--prompt", "Once there", "--max-new-tokens", "4") == 0
    assert call("generate", "--prompt", "Once there", "--max-new-tokens", "4") == 0  # the newest
    assert capsys.readouterr().out.count("Once there") == 2
    assert call("generate", "tiny") == 2
    assert "commands/import_hf.py tiny" in capsys.readouterr().err
    assert call("import_hf", "tiny", "--seq-length", "16", "--output", "runs/short") == 0
    short = read_model_file(tmp_path / "runs" / "short" / "model.safetensors").model
    assert short.config.max_seq_len == 16
    assert call("import_hf", "tiny", "--seq-length", "41") == 2
    assert "from 2 to this model's 40, but is 41" in capsys.readouterr().err
    (tmp_path / "kept").mkdir()
    assert call("import_hf", "tiny", "--output", "kept") == 2
    assert "kept is there already" in capsys.readouterr().err


def edited(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize(
    ("case", "fields", "said"),
    [
        ("gpt2", {"model_type": "gpt_neo"}, "architecture gpt_neo"),
        ("llama", {"architectures": ["LlamaForTokens"]}, r"llama \(LlamaForTokens\)"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("gpt2", {"activation_function": "tanh"}, "GPT2LMHeadModel with activation_function"),
        ("llama", {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "rope_scaling"),
        ("llama", {"attention_bias": True}, "attention_bias = True, .*mlp_bias = False"),
        ("llama", {"sliding_window": 32}, "sliding_window = 32"),
        ("llama", {"residual_multiplier": 0.22}, "residual_multiplier = 0.22"),
        ("llama", {"quantization_config": {"bits": 4}}, "quantization_config"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act = 'gelu'.*silu"),
        ("llama", {"hidden_size": "48"}, "'hidden_size' must be a whole number"),
        ("llama", {"hidden_size": 2**40}, "d_model is 1099511627776"),
        ("llama", {"num_hidden_layers": 9}, r"lacks the tensor model\.layers\.2\."),
        ("llama", {"num_hidden_layers": 1}, r"a tensor that a LlamaForCausalLM .*layers\.1"),
        ("llama", {"num_hidden_layers": 10**6}, "cannot make 1000000 blocks"),
        ("llama", {"intermediate_size": 81}, r"gate_proj.weight has shape \[80, 48\].*\[81, 48\]"),
        ("llama", {"vocab_size": 300}, "tokenizer has 320 ids, but its table only 300"),
        ("qwen3", {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ("qwen3", {"use_sliding_window": True}, "use_sliding_window = True"),
        ("nanochat", {"attention_bias": True}, "attention_bias"),
    ],
)
def test_what_we_do_not_have_is_named(
    case: str, fields: dict[str, Any], said: str, tmp_path: Path
) -> None:
    publish(case, tmp_path / "in")
    edited(tmp_path / "in", **fields)
    with pytest.raises(UserError, match=said):
        import_model(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_long_context_is_cut_before_it_is_judged(tmp_path: Path) -> None:
    """262,144 positions of a rotary model need no table."""
    publish("llama", tmp_path / "in")
    saved = json.loads((tmp_path / "in/config.json").read_text())
    saved["max_position_embeddings"] = 10**8
    (tmp_path / "in/config.json").write_text(json.dumps(saved))
    assert import_model(tmp_path / "in", tmp_path / "out").config.max_seq_len == 2048


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    publish("llama", folder)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}

    def refused(said: str) -> None:
        with pytest.raises(UserError, match=said):
            import_model(folder, tmp_path / "out")
        for name, data in whole.items():
            (folder / name).write_bytes(data)

    (folder / "config.json").unlink()
    refused(r"there is no .*config\.json")
    (folder / "tokenizer.json").unlink()
    refused(r"in has no tokenizer\.json.*AutoTokenizer\.from_pretrained.*save_pretrained")
    (folder / "tokenizer.json").write_text("{}")
    refused("not a tokenizer.json that can be read")
    (folder / "model.safetensors").write_bytes(whole["model.safetensors"][:-9])
    refused("is no safetensors file that can be read")
    weights = load_file(folder / "model.safetensors")
    save_file(
        {**weights, "model.norm.weight": torch.full((48,), float("nan"))},
        folder / "model.safetensors",
    )
    refused(r"model\.norm\.weight holds values that are not finite")
    keys = next(name for name in weights if name.endswith("k_proj.weight"))
    save_file({**weights, keys: weights[keys][:, :8].contiguous()}, folder / "model.safetensors")
    refused(r"q_proj\.weight \+ .*k_proj\.weight \+ .* has shape \[\[.*48\], \[\d+, 8\]")
    save_file({n: t.to(torch.float64) for n, t in weights.items()}, folder / "model.safetensors")
    refused("of type F64, not F32 or F16 or BF16")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    refused(r"pytorch_model\.bin, a pickle: .*save_pretrained")
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../../elsewhere.safetensors"}}))
    refused("not a file beside it")
    (folder / "model.safetensors").unlink()
    index.write_text(json.dumps({"weight_map": {"a": "part.safetensors"}}))
    refused(r"lacks part\.safetensors")


def test_a_tokenizer_without_an_end_is_refused(tmp_path: Path) -> None:
    publish("qwen3", tmp_path / "in")
    tokenizer = byte_level()
    text = tokenizer.to_str().replace(SPECIAL[0], "<|stop|>")
    (tmp_path / "in" / "tokenizer.json").write_text(text)
    (tmp_path / "in" / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match="nothing says which token ends a text"):
        import_model(tmp_path / "in", tmp_path / "out")
    write_tokenizer(tmp_path / "in", tokenizer, SPECIAL[0], SPECIAL[0])
    import_model(tmp_path / "in", tmp_path / "out")
