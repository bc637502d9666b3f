"""Muon in step 11: the page's gradient, its rounds and its singular values are Python's."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from browser_page import OpenPage
from ladder_tools import back_to_shipped, open_step, randoms, show, variant, word
from playwright.sync_api import Browser
from torch.nn import functional as F

from transformer.ladder import muon


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[OpenPage]:
    opened = open_step(browser)
    yield opened
    opened.page.context.close()


@pytest.mark.parametrize("shape", [(12, 12), (40, 16), (16, 40), (1, 8)])
def test_each_round_of_muon_is_pythons_and_its_singular_values_are_numpys(
    page: OpenPage, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = randoms(*shape) * torch.logspace(0, -3, shape[1])
    script = """([matrix, R, C]) => {
      const [n, m] = [Math.min(R, C), Math.max(R, C)];
      let x = Page.scaledWide(Float32Array.from(matrix), R, C);
      return [0, 1, 2, 3, 4, 5].map((round) => {
        if (round) x = Page.finish(Page.newtonSchulz(x, n, m));
        return [[...x], [...Page.finish(Page.singularValues(x, n, m))]];
      });
    }"""
    rounds = page.run(script, [matrix.flatten().tolist(), *shape])
    assert len(rounds) == muon.ROUNDS + 1
    for count, (found, values) in enumerate(rounds):
        monkeypatch.setattr(muon, "ROUNDS", count)
        expected = muon.orthogonalised(matrix)
        wide = expected.T if shape[0] > shape[1] else expected
        assert np.abs(np.array(found) - wide.flatten().numpy()).max() < 2e-5
        wanted = np.linalg.svd(expected.double().numpy(), compute_uv=False)
        assert np.abs(np.array(values) - wanted).max() < 2e-5
        assert values == sorted(values, reverse=True)


def test_long_work_pauses_after_every_few_million_multiply_adds(page: OpenPage) -> None:
    """As often as a matrix of 256 rows needs, so that the page can answer in between."""
    script = """() => {
      const [n, m] = [256, 1024], x = new Float32Array(n * m).fill(1), pauses = (work) => {
        let count = 0;
        while (!work.next().done) count++;
        return count;
      };
      return [pauses(Page.newtonSchulz(x, n, m)), pauses(Page.singularValues(x, n, m))];
    }"""
    rounds, values = page.run(script)
    assert rounds >= (2 * 256 * 256 * 1024 + 256**3) / 4e6
    assert values > 256


@pytest.mark.parametrize(
    "name", ["scaled", "rms", "plain norms", "untied", "softcap", "swiglu", "all, and the sides"]
)
def test_the_gradient_of_the_last_matrix_is_pytorchs(
    page: OpenPage, name: str, tmp_path: Path
) -> None:
    model = variant(name)
    show(page, model, tmp_path)
    sequences = [[256, 5, 9, 80, 12, 7, 256], [3, 4, 5]]
    found = page.run(
        "(s) => [...Page.finish(Page.lastMatrixGradient(Page.state.model, s))]", sequences
    )
    losses = [
        F.cross_entropy(model(torch.tensor([ids[:-1]]))[0], torch.tensor(ids[1:]), reduction="sum")
        for ids in sequences
    ]
    weight = model.blocks[-1].feed_forward.contract.weight
    (expected,) = torch.autograd.grad(sum(losses) / 8, [weight])  # type: ignore[arg-type]
    assert expected.abs().max() > 1e-3
    difference = np.abs(np.array(found) - expected.flatten().numpy()).max()
    assert difference <= 1e-4 * float(expected.abs().max())


@pytest.mark.slow
def test_after_its_rounds_most_singular_values_of_the_shipped_gradient_are_near_1(
    page: OpenPage,
) -> None:
    """And before them a few were large and most tiny, as the text says."""
    back_to_shipped(page)
    slider = page.page.locator('#ladder [data-slot="muon"] input[type="range"]')
    for key, said in (("Home", "After no round"), ("End", "After 5 rounds")):
        slider.press(key)
        text = word(page, "muon")
        assert said in text
        near, of, worst = re.findall(r"all five, (\d+) of (\d+) are .* them (\S+) from 1", text)[0]
        assert int(of) / 2 < int(near) <= int(of)
        assert float(worst) <= 0.4
    slider.press("Home")
    script = """() => {
      const { model, tokenizer } = Page.state, text = (story) => tokenizer.encode(story);
      const gradient = Page.lastMatrixGradient(model, Page.samples.stories.slice(0, 8).map(text));
      const x = Page.scaledWide(Page.finish(gradient), 128, 512);
      return [...Page.finish(Page.singularValues(x, 128, 512))];
    }"""
    values = page.run(script)
    assert values[0] > 20 * values[64]
