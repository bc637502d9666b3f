"""Step 7: the error that goes back, AdamW, the schedule, against PyTorch and the training code."""

import json
import math
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from browser_page import INDEX, ROOT, OpenPage
from ladder_tools import TOKENIZER, show, variant
from playwright.sync_api import Browser
from torch.nn.functional import cross_entropy

from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import LoadedModel
from transformer.sharing.page import step_plan
from transformer.training.flags import parse
from transformer.training.optimizer import BETAS
from transformer.training.scheduler import Schedule

IDS = [TOKENIZER.end_of_text, *TOKENIZER.encode("Two la tu frogs.")]
BACK = """([ids, place, neuron, wire]) => {
  const host = Page.hostOf(Page.state.model);
  host.trace.update(ids);
  return Page.finish(Page.tasks.backPropagate(host, { ids, place, neuron, wire }));
}"""
SAYS = '[data-slot="back-propagation"] .readout'
TEXT = f"() => document.querySelector('{SAYS}').textContent"


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[OpenPage]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield OpenPage(context.new_page()).load("#training")
    context.close()


def number(text: str) -> float:
    """Of a readout: −0.0123 or 4.5·10⁻⁶."""
    plain = text.replace("−", "-").replace("·10", "e")
    return float(plain.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))


def errors(
    model: DecoderOnlyTransformer, ids: list[int], place: int
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Autograd's: the loss of one token, and what it hands back to each value."""
    kept: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_: Any, __: Any, output: torch.Tensor) -> None:
            output.retain_grad()
            kept[name] = output

        return hook

    block = model.blocks[-1]
    handles = [
        module.register_forward_hook(keep(name))
        for name, module in {
            "activations": block.feed_forward.activations,
            "stream": block.residual,
            "hidden": model.final_norm,
        }.items()
    ]
    model.zero_grad()
    logits = model(torch.tensor([ids]))[0, place]
    loss = cross_entropy(logits, torch.tensor(ids[place + 1]))
    loss.backward()
    for handle in handles:
        handle.remove()
    return loss.detach(), {name: value.grad[0, place] for name, value in kept.items()}  # type: ignore[index]


def check_against_autograd(page: OpenPage, model: DecoderOnlyTransformer, ids: list[int]) -> None:
    matrix = model.blocks[-1].feed_forward.contract.weight
    D, F = matrix.shape
    for place, neuron, wire in [(len(ids) - 2, 3, D - 1), (1, F - 1, 0), (4, 11, 7)]:
        found = page.run(BACK, [ids, place, neuron, wire])
        loss, back = errors(model, ids, place)
        assert matrix.grad is not None
        near = {"rel": 2e-4, "abs": 2e-6}
        assert found["loss"] == pytest.approx(loss.item(), **near)
        assert found["gradient"] == pytest.approx(matrix.grad[wire, neuron].item(), **near)
        assert found["neuronError"] == pytest.approx(back["activations"][neuron].item(), **near)
        assert found["streamError"] == pytest.approx(back["stream"][wire].item(), **near)
        assert found["hiddenError"] == pytest.approx(back["hidden"][wire].item(), **near)
        assert found["weight"] == pytest.approx(matrix[wire, neuron].item(), **near)


def test_the_error_that_comes_back_is_autograds(page: OpenPage, shipped: LoadedModel) -> None:
    ids = page.run("() => Page.state.ids")
    check_against_autograd(page, shipped.model, ids[:20])


@pytest.mark.parametrize(
    "name",
    [
        "all",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("rms", "plain norms", "numbers", "swiglu", "untied", "softcap")
        ),
    ],
)
def test_and_of_every_kind_of_top(open_page: Any, tmp_path: Path, name: str) -> None:
    page = open_page().load()
    model = variant(name)
    show(page, model, tmp_path)
    check_against_autograd(page, model, IDS)


def test_the_curve_is_the_loss_of_the_changed_model(page: OpenPage, shipped: LoadedModel) -> None:
    ids = page.run("() => Page.state.ids")[:12]
    found = page.run(BACK, [ids, 9, None, None])
    matrix = shipped.model.blocks[-1].feed_forward.contract.weight
    cell = found["wire"], found["neuron"]
    kept = matrix.data[cell].clone()
    assert len(found["curve"]) == 13
    assert found["curve"][6][0] == 0
    for change, loss in found["curve"][::3]:
        matrix.data[cell] = kept + change
        with torch.no_grad():
            logits = shipped.model(torch.tensor([ids]))[0, 9]
        assert loss == pytest.approx(cross_entropy(logits, torch.tensor(ids[10])).item(), abs=1e-4)
    matrix.data[cell] = kept
    assert found["slope"] == pytest.approx(found["gradient"], rel=0.02)


def test_without_a_place_the_last_undecided_one_is_taken(
    page: OpenPage, shipped: LoadedModel
) -> None:
    ids = page.run("() => Page.state.ids")
    with torch.no_grad():
        log_p = shipped.model(torch.tensor([ids]))[0].log_softmax(-1)
    right = [log_p[t, ids[t + 1]].exp().item() for t in range(len(ids) - 1)]
    undecided = [t for t, p in enumerate(right) if 0.05 < p < 0.95]
    assert page.run(BACK, [ids, None, None, None])["position"] == undecided[-1]
    surprises = ids[:1]
    for _ in range(2):
        with torch.no_grad():
            surprises.append(int(shipped.model(torch.tensor([surprises]))[0, -1].argmin()))
    assert page.run(BACK, [surprises, None, None, None])["position"] == 1


def test_the_figure_follows_pin_neuron_and_changed_weight(open_page: Any) -> None:
    page = open_page().load("#training")
    figure = page.page.locator('figure:has([data-slot="back-propagation"])')
    page.page.wait_for_function(f"() => /By trial/.test(({TEXT})())")
    page.page.click("#prompt-chips .chip >> nth=4")
    token, following = page.run("() => Page.state.shown().slice(4, 6)")
    page.page.wait_for_function(
        f"(start) => ({TEXT})().startsWith(start)", arg=f"After {token} comes {following},"
    )
    found = re.search(r"back-propagation: (\S+)\. By trial.*: (\S+)\.$", page.run(TEXT))
    assert found
    assert number(found[1]) == pytest.approx(number(found[2]), rel=0.05)
    figure.locator(".chips .chip").nth(2).click()
    name = figure.locator(".chips .chip").nth(2).inner_text()
    page.page.wait_for_function(
        f"(text) => ({TEXT})().includes(text)", arg=f"neuron {name.strip('#')} "
    )
    assert name in figure.locator(".chain li").first.inner_text()
    before = page.run(TEXT)
    figure.get_by_role("slider", name="Change the weight by").press("ArrowRight")
    page.page.wait_for_function(f"(before) => ({TEXT})() !== before", arg=before)
    assert "Changed by +" in page.run(TEXT)
    page.type_prompt("")
    assert "There is only one token" in page.run(TEXT)
    assert not figure.locator(".chain").is_visible()
    assert page.all_problems() == []


def test_adams_path_is_pytorchs(page: OpenPage) -> None:
    gradients = torch.randn(40, generator=torch.Generator().manual_seed(2)).mul(1e-4).tolist()
    weight = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = torch.optim.AdamW([weight], lr=1.0, betas=BETAS, weight_decay=0.0)
    values = [0.0]
    for gradient in gradients:
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        values.append(weight.item())
    moves = page.run("(all) => Page.adamPath(all).map(({ move }) => move)", gradients)
    assert moves == pytest.approx([b - a for a, b in pairwise(values)], rel=1e-6)


@pytest.mark.parametrize("fall", ["cosine", "linear"])
def test_the_learning_rate_is_the_schedules(page: OpenPage, fall: Any) -> None:
    plan = {"peak": 3e-3, "steps": 400, "warmup": 20, "fall": fall}
    steps = [1, 7, 20, 21, 200, 399, 400, 900]
    found = page.run(
        "([steps, plan]) => steps.map((s) => Page.learningRate(s, plan))", [steps, plan]
    )
    schedule = Schedule(3e-3, 400, 20, fall)
    assert found == pytest.approx([schedule(step) for step in steps], rel=1e-12)


def curves() -> dict[str, Any]:
    text = (ROOT / "page/curves.data.js").read_text()
    return json.loads(text[text.index("=", text.index("curves")) + 1 :].strip().rstrip(";"))  # type: ignore[no-any-return]


def test_the_plans_of_the_shown_runs_are_those_of_their_commands() -> None:
    for name, run in curves().items():
        config = parse(shlex.split(run["command"])[4:])[0].config
        steps = config.steps or run["validation"][-1][0]
        assert run["plan"] == step_plan(vars(config), steps), name


def test_the_plan_says_how_often_it_was_clipped(page: OpenPage) -> None:
    figure = page.page.locator('figure:has([data-slot="plan"])')
    for label, name in [("accumulation 1", "accumulation-1"), ("learning", "learning")]:
        figure.get_by_label(label, exact=True).check()
        run = curves()[name]
        clipped = sum(norm > run["plan"]["clip"] for *_, norm in run["train"])
        said = figure.locator(".readout").inner_text()
        assert f"In {clipped} of the {len(run['train'])} steps kept here" in said
        assert f"Step {run['plan']['warmup']}: learning rate" in said
        assert "100 % of the highest" in said
    assert clipped > 0


def test_adamw_evens_out_what_one_rate_cannot(page: OpenPage) -> None:
    page.page.locator('[data-slot="adamw"]').scroll_into_view_if_needed()
    said = '[data-slot="adamw"] .readout'
    page.page.wait_for_function(
        f"() => /AdamW moves/.test(document.querySelector('{said}').textContent)"
    )
    text = page.page.inner_text(said).replace(",", "")
    gradients = float(re.findall(r"typically ([\d.]+) times larger", text)[0])
    moved = float(re.findall(r": ([\d.]+) times farther\.$", text)[0])
    assert gradients > 1000
    assert moved < 10


def test_the_worked_numbers_are_right() -> None:
    prose = " ".join(INDEX.read_text().split())
    scores = [math.exp(z) for z in (2, 1, 0)]
    shares = [score / sum(scores) for score in scores]
    assert "= 7.39, <var>e</var>¹ = 2.72 and <var>e</var>⁰ = 1 are 11.11 together" in prose
    assert [round(score, 2) for score in (*scores, sum(scores))] == [7.39, 2.72, 1.0, 11.11]
    assert "0.67, 0.24 and 0.09" in prose
    assert [round(share, 2) for share in shares] == [0.67, 0.24, 0.09]
    assert "1.11 times as large" in prose
    assert round(1 / (1 - 0.1), 2) == 1.11


def test_validation_lies_below_training_in_the_run_that_learns() -> None:
    assert all(
        validation < train for _, train, validation, *_ in curves()["learning"]["validation"]
    )
