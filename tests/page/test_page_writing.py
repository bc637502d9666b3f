"""Step 8: the text that the page writes, and what its cache saves."""

from dataclasses import asdict
from typing import Any

import pytest
import torch
from browser_page import OpenPage
from torch.utils.flop_counter import FlopCounterMode

from transformer.config import ModelConfig, Variant
from transformer.generation import generate
from transformer.kv_cache import KVCache
from transformer.ladder import build_model
from transformer.runs.model_file import LoadedModel

GENERATE = """([ids, count, { seed = 0, ...settings }]) => {
  const host = Page.hostOf(Page.state.model);
  return Array.from({ length: count }, (_, n) =>
    Page.finish(Page.tasks.write(host, { ids, seed, settings, begin: n === 0 })).id);
}"""
TEXT_BOX = '#generation [data-slot="text"]'
COST_BOX = '#generation [data-slot="cache"]'


def test_greedy_text_is_pythons_even_past_the_context(
    shared_page: OpenPage, shipped: LoadedModel
) -> None:
    """The prompt is 12 tokens short of the context, so the window moves while it writes."""
    limit = shipped.model.config.max_seq_len
    story = shipped.tokenizer.encode("Once there was a shy fox named Belmo. ") * limit
    ids = [shipped.tokenizer.end_of_text, *story][: limit - 12]
    found = shared_page.run(GENERATE, [ids, 24, {"temperature": 0}])
    expected = generate(shipped.model, torch.tensor([ids]), 24, temperature=0.0)
    assert found == expected[0, len(ids) :].tolist()


def test_a_seed_decides_the_text(shared_page: OpenPage) -> None:
    ids = shared_page.run("() => Page.state.ids")
    texts = [
        shared_page.run(GENERATE, [ids, 20, {"temperature": 1.2, "seed": seed}])
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


COSTLY = Variant(feed_forward="swiglu", n_kv_heads=2, head_size=10, positions="rotary")


@pytest.mark.parametrize("variant", [Variant(), COSTLY], ids=["classic", "variant"])
@pytest.mark.parametrize(("fresh", "cached"), [(7, 0), (1, 6), (3, 5)])
def test_multiply_adds_are_those_that_pytorch_counts(
    shared_page: OpenPage, fresh: int, cached: int, variant: Variant
) -> None:
    """Against PyTorch's own counter, on the explicit path; two operations a multiply-add."""
    config = ModelConfig(
        61, d_model=32, n_heads=4, n_layers=3, d_ff=48, max_seq_len=16, dropout=0.0,
        attention="explicit", variant=variant,
    )  # fmt: skip
    model = build_model(config).eval()
    cache = KVCache(config, 1)
    with torch.no_grad():
        if cached:
            model(torch.zeros(1, cached, dtype=torch.int64), cache=cache)
        with FlopCounterMode(display=False) as counter:
            hidden = model.hidden_states(torch.zeros(1, fresh, dtype=torch.int64), cache)
            hidden[:, -1] @ model.token_embedding.weight.T
    script = "([config, ...counts]) => Page.multiplyAdds(Page.checkConfig(config), ...counts)"
    found = shared_page.run(script, [asdict(config), fresh, cached])
    assert 2 * found == counter.get_total_flops()


@pytest.mark.parametrize("variant", [Variant(), COSTLY], ids=["classic", "variant"])
def test_what_the_cache_holds_is_what_python_allocates(
    shared_page: OpenPage, variant: Variant
) -> None:
    config = ModelConfig(61, d_model=32, n_heads=4, n_layers=3, max_seq_len=16, variant=variant)
    cache = KVCache(config, 1)
    script = "([config, length]) => Page.cacheValues(Page.checkConfig(config), length)"
    found = shared_page.run(script, [asdict(config), 16])
    assert found == cache.keys.numel() + cache.values.numel()


def written(page: OpenPage) -> str:
    return page.page.inner_text(f"{TEXT_BOX} .written span:last-child")


def write(page: OpenPage, count: int) -> str:
    page.page.get_by_role("button", name=f"Write {count}", exact=True).click()
    page.page.wait_for_function(
        f"""() => {{
          const text = document.querySelector('{TEXT_BOX} .readout').textContent;
          return text.startsWith("{count} tokens") || text.includes("ended the text");
        }}"""
    )
    return written(page)


@pytest.mark.slow
def test_the_figures_write_the_same_text_again_and_show_the_bug(open_page: Any) -> None:
    page = open_page().load("#generation")
    first = write(page, 40)
    page.page.locator(TEXT_BOX).get_by_role("button", name="Start over").click()
    assert written(page) == ""
    assert write(page, 40) == first
    differences = {}
    for bug in (False, True):
        page.page.get_by_label("Position bug").set_checked(bug)
        page.page.get_by_role("button", name="Write 24 tokens both ways").click()
        page.page.wait_for_function(
            f"""() => document.querySelectorAll('{COST_BOX} .chip').length >= 8"""
        )
        page.page.locator(COST_BOX).get_by_role("button", name="Stop").click()
        differences[bug] = page.run(
            f"() => Number(document.querySelector('{COST_BOX}').dataset.difference)"
        )
    assert differences[False] < 1e-4
    assert differences[True] > 0.01
    assert page.all_problems() == []
