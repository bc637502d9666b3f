"""The page as a whole: it loads from disk alone, quickly and silently, and follows the prompt."""

import re

import pytest
from browser_page import INDEX, RENDERED, ROOT

FOLLOW_THE_PROMPT = {
    "tokens", "merges", "row", "neighbours", "positions", "order", "dot", "row-weights", "head",
    "mask", "curve", "neurons", "silenced", "shares", "without", "output", "lens", "hands",
    "distance", "qk-scores", "qk-weights", "relu2", "back-propagation", "flow",
}  # fmt: skip
SIXTEEN = "Belmo sang: tri la mi zum ta ki bom!"


def page_files() -> list[str]:
    """What index.html loads, in order."""
    html = INDEX.read_text()
    return re.findall(r'<script[^>]* src="([^"]+)"', html) + re.findall(
        r'href="(page/[^"]+)"', html
    )


def test_nothing_goes_wrong_and_nothing_is_fetched(whole_page) -> None:
    """No console message, page error or violation of the policy, no request but for files."""
    opened = whole_page
    opened.type_prompt(SIXTEEN)
    opened.page.click("#theme")
    opened.page.click("#theme")
    assert opened.all_problems() == []
    assert opened.requests
    allowed = (INDEX.parent.as_uri() + "/", "data:", "blob:")
    assert [url for url in opened.requests if not url.startswith(allowed)] == []


def test_the_page_is_small_and_complete() -> None:
    files = [ROOT / name for name in page_files()]
    assert all(path.is_file() for path in files)
    on_request = {ROOT / "page/film.data.js"}
    unused = set((ROOT / "page").rglob("*.*")) - set(files) - on_request
    assert not unused, "files that index.html does not load"
    assert INDEX.stat().st_size + sum(path.stat().st_size for path in files) <= 4_000_000


def test_an_edit_updates_every_figure(whole_page) -> None:
    """Every figure that depends on the prompt says something else after a new prompt."""
    opened = whole_page
    text = "() => Object.fromEntries([...document.querySelectorAll('[data-slot]')].map((slot) =>"
    read = text + " [slot.dataset.slot, slot.textContent]))"
    before = opened.run(read)
    assert len(before) > 20
    assert all(value.strip() for value in before.values()), before
    opened.type_prompt("Long ago, in a blue house, lived a merry owl named Zulma.")
    after = opened.run(read)
    follows = set(before) & FOLLOW_THE_PROMPT
    assert follows == FOLLOW_THE_PROMPT
    assert {name for name in follows if before[name] == after[name]} == set()


def test_pinning_a_token_moves_every_figure_that_follows_it(open_page) -> None:
    opened = open_page().load()
    opened.page.click("#prompt-chips .chip >> nth=3")
    assert opened.run("() => Page.state.pinned") == 3
    pressed = "() => [...document.querySelectorAll('#prompt-chips .chip')].map("
    pressed += "(chip) => chip.getAttribute('aria-pressed')).indexOf('true')"
    assert opened.run(pressed) == 3
    token = opened.run("() => Page.state.shown()[3]")
    for slot in ("dot", "head", "curve", "output"):
        assert token in opened.page.inner_text(f'[data-slot="{slot}"] .readout')


def test_odd_prompts(whole_page) -> None:
    """None, one token, more than fit, and text that would like to be markup."""
    opened = whole_page
    for text in ("", "x", "word " * 400, "\u202eevil <b>bold</b> \x00 🙂🙂"):
        opened.type_prompt(text)
        ids, limit = opened.run("() => [Page.state.ids.length, Page.state.capacity]")
        assert 1 <= ids <= limit
        assert opened.page.is_visible("#message") == text.startswith("word word")
        if opened.page.is_visible("#message"):
            assert "the model reads the last" in opened.page.inner_text("#message")
        assert opened.run("() => document.querySelectorAll('[data-slot] b').length") == 0
        assert opened.all_problems() == [], text


def test_a_shared_link_brings_back_prompt_and_pin(open_page) -> None:
    opened = open_page().load("#attention&pin=2&prompt=Zulma%20sang%3A%20tri%20la")
    assert opened.page.input_value("#prompt") == "Zulma sang: tri la"
    assert opened.run("() => Page.state.pinned") == 2
    opened.page.click("#share")
    link = opened.run("() => location.hash")
    again = open_page().load(link)
    assert again.page.input_value("#prompt") == "Zulma sang: tri la"
    broken = open_page().load("#heads&pin=99999&prompt=%E0%A4%A")
    assert broken.all_problems() == []


@pytest.mark.parametrize(("width", "step"), [(1280, "feed_forward"), (360, "generation")])
def test_a_link_leads_to_its_step_and_stays_there(open_page, width, step) -> None:
    """Figures above it take their room when they are near: the step must not be pushed away."""
    opened = open_page(width=width).load(f"#{step}")
    opened.page.wait_for_function(
        """(id) => [document.getElementById(id), document.getElementById(id).previousElementSibling]
          .flatMap((section) => [...section.querySelectorAll(".readout")])
          .every((node) => node.textContent && !node.textContent.startsWith("Measuring"))""",
        arg=step,
    )
    top = opened.run("(id) => document.getElementById(id).getBoundingClientRect().top", step)
    assert 0 <= top < 200
    assert opened.run("() => document.querySelector('#contents [aria-current]').hash") == f"#{step}"


def test_typing_fast_ends_at_the_last_letter(open_page) -> None:
    opened = open_page().load()
    opened.page.fill("#prompt", "")
    opened.page.locator("#prompt").press_sequentially("Once there was a fox")
    opened.page.wait_for_function(
        """() => Page.state.prompt === 'Once there was a fox'
          && [...document.querySelectorAll('#attention [data-slot]')].some(
            (slot) => slot.textContent.includes('fox'))"""
    )
    opened.page.wait_for_function(f"() => ({RENDERED})() > 1")


def test_no_source_of_chance_but_seeded_ones() -> None:
    for name in page_files():
        if name.endswith(".js") and ".data." not in name:
            text = (ROOT / name).read_text()
            for word in ("Math.random", "innerHTML", "insertAdjacentHTML", "eval(", "Date.now"):
                assert word not in text, f"{name} uses {word}"


def test_without_javascript_the_prose_is_complete(open_page) -> None:
    opened = open_page(java_script_enabled=False)
    opened.page.goto(INDEX.as_uri())
    assert opened.page.locator("main > section").count() == 12
    for section in opened.page.locator("main > section").all():
        assert len(section.inner_text()) > 1200
    for caption in opened.page.locator("main figcaption").all():
        assert caption.is_visible()
    assert opened.page.locator("math").count() >= 8
    for link in opened.page.locator("#flow a").all():
        assert link.is_visible()
    assert opened.page.is_visible(".no-live")
    assert not opened.page.is_visible(".prompt-bar")
