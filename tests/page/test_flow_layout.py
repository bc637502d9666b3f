"""The picture at the top as a map: a press opens a step; it fits, turns and folds."""

from typing import Any

import pytest
from browser_page import OpenPage
from test_flow import OUTSIDE, check_output, taps_of


@pytest.mark.slow
def test_a_press_anywhere_on_a_station_opens_its_step(open_page: Any) -> None:
    page: OpenPage = open_page(reduced_motion="reduce").load()
    steps = {
        "tokens": "tokens", "vectors": "embeddings", "attention": "attention",
        "feed-forward": "feed_forward", "blocks": "block", "next": "whole_model",
    }  # fmt: skip
    for station, step in steps.items():
        page.page.click(f'[data-station="{station}"] .picture', force=True)
        page.page.wait_for_function("(step) => location.hash === `#${step}`", arg=step)
        at_top = """(step) => {
          const { top } = document.getElementById(step).getBoundingClientRect();
          return top > -5 && top < innerHeight / 2;
        }"""
        page.page.wait_for_function(at_top, arg=step)
    for text, step in (("heads: Step 3", "heads"), ("writing on: Step 8", "generation")):
        page.page.locator("#flow").get_by_role("link", name=text).press("Enter")
        page.page.wait_for_function("(step) => location.hash === `#${step}`", arg=step)


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out(open_page: Any, width: int) -> None:
    page: OpenPage = open_page(width=width).load()
    fold = page.page.locator("#flow details")
    assert page.page.is_visible("#flow summary") == (width == 360)
    if width == 360:
        assert fold.get_attribute("open") is None
        page.page.locator("#flow summary").press("Enter")
    page.page.wait_for_function("() => document.querySelectorAll('#flow .bus').length > 4")
    assert page.run(OUTSIDE) == []
    page.type_prompt("Unbreakablewordsthatgoonandon, " * 2)
    check_output(page, taps_of(page)[2])
    assert page.run(OUTSIDE) == []


def test_it_turns_when_the_window_becomes_narrow(open_page: Any) -> None:
    """Downwards instead of to the right, folded until it is opened."""
    page: OpenPage = open_page().load()
    box = "() => { const b = document.querySelector('#flow .plus').ownerSVGElement.getBBox(); return [b.width, b.height]; }"  # noqa: E501
    width, height = page.run(box)
    assert width > 2 * height
    page.page.set_viewport_size({"width": 360, "height": 800})
    page.page.wait_for_function("() => !document.querySelector('#flow details').open")
    page.page.locator("#flow summary").click()
    page.page.wait_for_function(f"() => {{ const [w, h] = ({box})(); return h > 2 * w; }}")
    page.page.set_viewport_size({"width": 1280, "height": 800})
    page.page.wait_for_function(f"() => {{ const [w, h] = ({box})(); return w > 2 * h; }}")
