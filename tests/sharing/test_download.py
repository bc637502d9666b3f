"""A published model from a hub on this machine, with the real client and everything going wrong."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from local_hub import Fault, LocalHub
from processes import wait_until
from published_models import as_published, publish
from safetensors.torch import load_file
from training_tools import ROOT, call

REPO = "someone/tiny"
FAULTS = (
    ("info", Fault("status", 503)),
    ("info", Fault("reset")),
    ("resolve", Fault("status", 429, retry_after=1)),
    ("resolve", Fault("reset")),
    ("range", Fault("status", 500)),
    ("range", Fault("reset")),
    ("range", Fault("truncate")),
    ("range", Fault("short")),
    ("range", Fault("stall", seconds=6)),
    ("range", Fault("flip")),
)


def environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HF_HOME": str(home),
        "HF_HUB_DOWNLOAD_TIMEOUT": "2",
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "200",
        "TQDM_POSITION": "-1",  # the client shows its progress although this is no terminal
    }


def command(hub: LocalHub, output: Path) -> list[str]:
    script = str(ROOT / "commands" / "import_hf.py")
    where = ("--hub-endpoint", hub.url, "--output", str(output))
    return [sys.executable, script, REPO, *where]


def run(hub: LocalHub, output: Path, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(hub, output), env=environment(home), capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    publish("llama", tmp_path / "llama")
    as_published(tmp_path / "llama")  # two files
    publish("gpt2", tmp_path / "other")
    path = tmp_path / "other" / "config.json"
    path.write_text(path.read_text().replace('"gpt2"', '"gpt_neo"'))
    publish("qwen3", tmp_path / "pickled")
    weights = tmp_path / "pickled" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    publish("qwen3", tmp_path / "silent")
    (tmp_path / "silent" / "tokenizer.json").unlink()
    names = {REPO: "llama"} | {f"someone/{name}": name for name in ("other", "pickled", "silent")}
    return {repo: tmp_path / name for repo, name in names.items()}


def test_a_model_is_fetched_once_and_what_cannot_be_built_is_not(
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with LocalHub(folders) as hub:
        there = ("--hub-endpoint", hub.url)
        assert call("import_hf", REPO, *there) == 0
        said = capsys.readouterr().out
        assert "tiny (LlamaForCausalLM): 2 blocks of 4 heads (2 of keys and values)" in said
        assert "Fetching model-00001-of-00002.safetensors" in said
        sent = hub.bytes_sent()
        commit = hub.repositories[REPO].commit
        assert call("import_hf", REPO, *there, "--revision", commit, "--output", "again") == 0
        assert hub.bytes_sent() == sent
        for name, part in {
            "someone/other": "the architecture gpt_neo",
            "someone/pickled": "someone/pickled has its weights as pytorch_model.bin, a pickle",
            "someone/silent": "someone/silent has no tokenizer.json",
            "someone/absent": "HTTP 401: sign in",
            "absent": "there is no folder absent, and a model on the hub is named OWNER/NAME",
        }.items():
            assert call("import_hf", name, *there) == 2
            assert part in capsys.readouterr().err
        assert call("import_hf", REPO, *there, "--revision", "v9", "--output", "none") == 2
        assert "HTTP 404: check the name and --revision" in capsys.readouterr().err
        fetched = {request.path for request in hub.requests if request.kind == "range"}
        assert not any("pytorch_model" in each for each in fetched)
        assert not any("silent" in each and "safetensors" in each for each in fetched)
    assert call("import_hf", REPO, *there, "--output", "none") == 2
    assert "without a network, give a folder" in capsys.readouterr().err
    one, other = (load_file(f"{name}/model.safetensors") for name in ("runs/tiny", "again"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_every_fault_is_survived(tmp_path: Path) -> None:
    publish("gpt2", tmp_path / "in")
    with LocalHub({REPO: tmp_path / "in"}) as hub:
        expected = None
        for number, (kind, fault) in enumerate(FAULTS):
            hub.fail(fault, kind=kind)
            said = run(hub, tmp_path / f"out{number}", tmp_path / f"home{number}")
            assert said.returncode == 0, (kind, fault, said.stderr)
            assert "100%" in said.stderr
            weights = load_file(tmp_path / f"out{number}" / "model.safetensors")
            expected = expected or weights
            assert all(torch.equal(weights[name], expected[name]) for name in expected), fault
            assert hub.faults.next(kind) is None, f"{fault} met no request"
            hub.forget()


@pytest.mark.slow
def test_a_killed_download_continues(tmp_path: Path) -> None:
    publish("gpt2", tmp_path / "in")
    size = (tmp_path / "in" / "model.safetensors").stat().st_size
    home = tmp_path / "home"
    with LocalHub({REPO: tmp_path / "in"}) as hub:
        hub.fail(Fault("stall", seconds=60), kind="range", times=1)
        hub.bandwidth = 1e9
        process = subprocess.Popen(
            command(hub, tmp_path / "out"),
            env={**environment(home), "HF_HUB_DOWNLOAD_TIMEOUT": "60"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_until(lambda: any(home.rglob("*.incomplete")), 60)
            time.sleep(1)
        finally:
            process.kill()
            process.wait(60)
        hub.forget()
        said = run(hub, tmp_path / "out", home)
        assert said.returncode == 0, said.stderr
        assert hub.bytes_sent() < size + 200_000
    assert load_file(tmp_path / "out" / "model.safetensors")
