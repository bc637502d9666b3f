"""What figures say where there is little to say, or where numbers leave the usual."""

import math
import re
from collections.abc import Iterator

import pytest
from browser_page import OpenPage
from playwright.sync_api import Browser

SAID = """([slot, pattern]) => new RegExp(pattern).test(
  document.querySelector(`${slot} .readout`)?.textContent ?? "")"""
DROP = """([target, name]) => {
  const data = new DataTransfer();
  data.items.add(new File(["{}"], name));
  document.querySelector(target).dispatchEvent(
    new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""
STATUS = "#your_model .status"


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[OpenPage]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = OpenPage(context.new_page()).load()
    yield page
    assert page.all_problems() == []
    context.close()


def wait_for(page: OpenPage, slot: str, pattern: str) -> None:
    page.page.wait_for_function(SAID, arg=[slot, pattern])


def test_a_loss_is_finite_where_a_probability_is_not(page: OpenPage) -> None:
    found = page.run(
        "() => Page.lossOf(Float32Array.of(2000, 0, 1000, 2000, 1999, 0, 0, 0, 0), [0, 1, 0], 3)"
    )
    assert found == pytest.approx((2000 + math.log(1 + math.exp(-1))) / 2)


def test_a_prompt_of_one_token_has_one_order(page: OpenPage) -> None:
    page.type_prompt("x")
    page.run("() => document.querySelector('#embeddings').scrollIntoView()")
    wait_for(page, '[data-slot="order"]', "^The order is the same")


def test_other_settings_start_the_text_over(page: OpenPage) -> None:
    slot = '#generation [data-slot="text"]'
    page.page.get_by_role("button", name="Write one token").click()
    wait_for(page, slot, "^1 tokens with seed")
    page.page.locator("#generation").get_by_label("greedy", exact=True).check()
    wait_for(page, slot, "^Nothing written yet")


@pytest.mark.slow
def test_the_cache_has_a_place_for_each_token_it_was_given(page: OpenPage) -> None:
    page.type_prompt("Once")
    length = page.run("() => Page.state.ids.length")
    page.page.get_by_role("button", name=re.compile("both ways")).click()
    wait_for(
        page,
        '#generation [data-slot="cache"]',
        f"of 24 tokens differ.*cache of {length + 23} positions",
    )


def test_a_link_in_an_open_page_is_followed(page: OpenPage) -> None:
    page.run("() => { location.hash = 'tokens&pin=2&prompt=Long%20ago%20there'; }")
    page.page.wait_for_function("() => Page.state.prompt === 'Long ago there'")
    page.page.wait_for_function("() => Page.state.pinned === 2")


def test_files_are_taken_wherever_they_are_dropped(page: OpenPage) -> None:
    page.run(DROP, ["h1", "tokenizer.json"])
    assert "drop the .safetensors file first" in page.page.inner_text(STATUS)
    page.run(f"() => {{ document.querySelector('{STATUS}').textContent = ''; }}")
    page.run(DROP, ["#ladder .drop-zone", "ladder.json"])
    assert page.page.inner_text(STATUS) == ""


@pytest.mark.parametrize(("over", "measured"), [("tokens", [True, True]), ("steps", [False, True])])
def test_validation_losses_are_those_near_the_ends_of_the_curves(
    page: OpenPage, over: str, measured: list[bool]
) -> None:
    figure = page.page.locator('figure:has([data-slot="accumulation-runs"])')
    figure.get_by_label(over, exact=True).check()
    said = figure.locator(".readout").inner_text()
    ends = re.findall(
        r"([\d,]+) steps,.*?validation loss (\S+) (?:at step ([\d,]+)|measured)", said
    )
    steps = [[int(text.replace(",", "") or 0) for text in (end, at)] for end, _, at in ends]
    assert [at > 0 for _, at in steps] == measured
    assert all(abs(at - end) <= end / 20 for end, at in steps if at)
