"""The figures that say what a head and a neuron are for: their answers, and models for them."""

from pathlib import Path
from typing import Any

import torch
from browser_page import OpenPage
from dropped_files import choose

from transformer.config import ModelConfig
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import LoadedModel, write_model_file

READOUT = "(slot) => document.querySelector(`[data-slot='${slot}'] .readout`).textContent"
ANSWERED = f"(slot) => /^(Block|Neuron) /.test(({READOUT})(slot))"
TEXTS = """Page.samples.stories.map((story) =>
  [Page.state.tokenizer.startOfText, ...Page.state.tokenizer.encode(story)].slice(0, LENGTH))"""
MARKED = " named"


def ask(page: OpenPage, task: str, length: int = 144) -> Any:
    texts = TEXTS.replace("LENGTH", str(length))
    script = f"""() => {{
      const found = Page.finish(Page.tasks.{task}(Page.state.engine.host, {{ texts: {texts} }}));
      const plain = (_, value) => (ArrayBuffer.isView(value) ? [...value] : value);
      return JSON.parse(JSON.stringify(found, plain));
    }}"""
    return page.run(script)


def answer(page: OpenPage, slot: str) -> str:
    """What the figure says once it has read its stories."""
    page.page.locator(f'[data-slot="{slot}"]').scroll_into_view_if_needed()
    page.page.wait_for_function(ANSWERED, arg=slot)
    return str(page.run(READOUT, slot))


def shown(page: OpenPage, slot: str) -> list[tuple[str, ...]]:
    """The rows of a figure's table: the number, then what is marked."""
    rows = page.page.locator(f'[data-slot="{slot}"] tbody tr').all()
    return [
        (row.locator("td").first.inner_text(), *row.locator("mark").all_inner_texts())
        for row in rows
    ]


def planted(vocab_size: int, marked: int, look: float = 12) -> DecoderOnlyTransformer:
    """Block 0: its head looks at the token before (as much as `look` says), its neuron 5 fires on
    one token. Block 1: its head looks at everything equally."""
    sizes = {"d_model": 32, "n_heads": 1, "n_layers": 2, "d_ff": 16, "max_seq_len": 144}
    torch.manual_seed(3)
    model = DecoderOnlyTransformer(ModelConfig(vocab_size, dropout=0.0, **sizes))
    frequency = 10000.0 ** (-torch.arange(0, 32, 2) / 32)
    back = torch.zeros(32, 32)  # the positional encoding of t -> that of t - 1
    for i, f in enumerate(frequency):
        a, b = 2 * i, 2 * i + 1
        back[a, a] = back[b, b] = f.cos()
        back[a, b], back[b, a] = -f.sin(), f.sin()
    direction = torch.randn(32)
    direction = (direction - direction.mean()) / direction.std()
    first, second = model.blocks
    with torch.no_grad():
        model.token_embedding.weight *= 0.01
        model.token_embedding.weight[marked] = 10 * direction
        first.attention.qkv_projection.weight[:32] = look * back
        first.attention.qkv_projection.weight[32:64] = torch.eye(32)
        first.attention.output_projection.weight.zero_()
        first.feed_forward.expand.weight[5] = direction
        first.feed_forward.expand.bias[5] = -25.0
        second.attention.qkv_projection.weight[:32] = 0
        second.attention.qkv_projection.bias[:32] = 0
    return model.eval()


def show(page: OpenPage, model: Any, shipped: LoadedModel, folder: Path) -> None:
    path = folder / "model.safetensors"
    write_model_file(path, model, shipped.tokenizer, step=1)
    assert "is loaded" in choose(page, path)


def pick(page: OpenPage, neuron: int) -> str:
    answer(page, "neuron-role")
    cell = page.page.locator('[data-slot="neurons"] .heat-frame')
    cell.focus()
    for _ in range(20):
        cell.press("ArrowLeft")
    for _ in range(neuron):
        cell.press("ArrowRight")
    cell.press("Enter")
    return answer(page, "neuron-role")
