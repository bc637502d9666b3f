"""What is typed is drawn in turns: what the reader sees first, and only the newest text."""

from typing import Any

import pytest
from browser_page import OpenPage

RECORD = """() => {
  window.drawn = [];
  for (const step of Page.steps) {
    const { id, render } = step;
    step.render = (state, change) => {
      window.drawn.push([id, change, state.prompt]);
      render(state, change);
    };
  }
}"""
TYPE = """(texts) => new Promise((done) => {
  window.drawn = [];
  new MutationObserver((_, self) => { self.disconnect(); done(window.drawn); })
    .observe(document.documentElement, { attributeFilter: ["data-rendered"] });
  for (const text of texts) Page.setPrompt(Page.state, text);
  window.early = window.drawn.length;
})"""


@pytest.mark.slow
def test_only_the_newest_text_is_drawn_and_the_visible_step_first(open_page: Any) -> None:
    page: OpenPage = open_page().load()
    page.run(RECORD)
    page.run("() => document.getElementById('generation').scrollIntoView({ behavior: 'instant' })")
    page.page.wait_for_timeout(500)  # until the page knows what is near
    drawn = page.run(TYPE, ["A", "A d", "A dog"])
    assert page.run("() => window.early") == 0  # the page could answer before anything was drawn
    assert {(change, text) for _, change, text in drawn} == {("prompt", "A dog")}
    order = [name for name, _, _ in drawn]
    steps = page.run("() => Page.steps.map(({ id }) => id)")
    assert sorted(order) == sorted(steps)
    assert order.index("generation") < order.index("tokens") > 0
    assert steps.index("generation") > steps.index("tokens")


def test_a_token_that_is_pinned_meanwhile_is_drawn_after_the_text(open_page: Any) -> None:
    page: OpenPage = open_page().load()
    page.run(RECORD)
    page.run("() => { window.drawn = []; Page.setPrompt(Page.state, 'A dog'); Page.state.pin(0); }")
    drawn = page.run("() => window.drawn")
    n = page.run("() => Page.steps.length")
    assert [change for _, change, _ in drawn] == n * ["prompt"] + n * ["pin"]
    assert page.problems == []
