"""Everybody can use the page: keyboard, screen readers, contrast, small screens, no motion."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_page import OpenPage

TABBABLE = """() => {
  const all = document.querySelectorAll("main button, main input, main [tabindex='0'], main a,"
    + " .prompt-bar button, .prompt-bar textarea, main select, main summary");
  const stops = (node) => node.checkVisibility() && !node.disabled
    && !(node.type === "radio" && !node.checked); // the keyboard stops at one of a group
  return [...all].filter(stops).length;
}"""
MEET = """() => {
  const seen = (window.seen ??= new Set()), node = document.activeElement;
  if (!node || node === document.body) return null;
  const style = getComputedStyle(node);
  const label = node.closest(".options label");
  const outline = label ? getComputedStyle(label).outlineStyle : style.outlineStyle;
  seen.add(node);
  return { name: node.outerHTML.slice(0, 80), visible: outline !== "none" };
}"""


@pytest.mark.slow
def test_every_control_is_reached_by_the_keyboard_and_shows_it(open_page) -> None:
    opened = open_page().load()
    opened.tour()
    expected = opened.run(TABBABLE)
    assert expected > 60
    opened.page.focus("#prompt")
    hidden = []
    for _ in range(expected + 30):
        met = opened.run(MEET)
        if met is None:
            break
        if not met["visible"]:
            hidden.append(met["name"])
        opened.page.keyboard.press("Tab")
    assert hidden == []
    found = "() => [...window.seen].filter((n) => n.closest('main, .prompt-bar')).length"
    assert opened.run(found) >= expected


@pytest.mark.slow
def test_controls_answer_the_keyboard(open_page) -> None:
    """A heat map's arrows, a chip, a slider, a switch, a radio button, a button."""
    opened = open_page().load()
    page = opened.page
    frame = page.locator('[data-slot="head"] .heat-frame')
    frame.focus()
    first = page.inner_text('[data-slot="head"] .cell-readout')
    page.keyboard.press("ArrowDown")
    second = page.inner_text('[data-slot="head"] .cell-readout')
    assert first != second
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")  # pins the row
    assert opened.run("() => Page.state.pinned") == 4
    page.locator('[data-slot="merges"] input[type="range"]').focus()
    before = page.inner_text('[data-slot="merges"] .readout')
    page.keyboard.press("ArrowLeft")
    assert page.inner_text('[data-slot="merges"] .readout') != before
    page.locator('[data-slot="mask"] input[type="checkbox"]').focus()
    page.keyboard.press("Space")
    opened.answered()
    assert "mask off" in page.inner_text('[data-slot="mask"] .readout')
    page.locator('[data-slot="dot"] input[type="radio"]').first.focus()
    page.keyboard.press("ArrowRight")
    assert "Block 1" in page.inner_text('[data-slot="row-weights"] .readout')


@pytest.mark.slow
def test_every_figure_has_a_name_and_says_in_words_what_it_shows(whole_page) -> None:
    script = """() =>
    [...document.querySelectorAll("main figure:has([data-slot])")].map((figure) => {
      const name = document.getElementById(figure.getAttribute("aria-labelledby"));
      const words = [...figure.querySelectorAll(".readout, table")].map((node) => node.textContent);
      return { name: name?.textContent ?? "", words: words.join(" ") };
    })"""
    figures = whole_page.run(script)
    assert len(figures) >= 20
    for figure in figures:
        assert len(figure["name"]) > 20
        assert len(figure["words"]) > 20, figure["name"]
    canvases = """() => [...document.querySelectorAll("canvas")].filter((canvas) =>
      !canvas.closest("[aria-label]")).length"""
    assert whole_page.run(canvases) == 0


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_nothing_serious(open_page, scheme: str) -> None:
    """On a page of its own: axe tries to fetch the style sheets, which the policy forbids."""
    opened = open_page(color_scheme=scheme).load()
    opened.tour()
    found = Axe().run(opened.page).response["violations"]
    serious = [
        (item["id"], [node["html"][:120] for node in item["nodes"]][:3])
        for item in found
        if item["impact"] in ("serious", "critical")
    ]
    assert serious == []


CONTRAST = """() => {
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const node = document.body.appendChild(document.createElement("span"));
  const luminance = (name) => {
    node.style.color = `var(--${name})`;
    probe.fillStyle = getComputedStyle(node).color;
    probe.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...probe.getImageData(0, 0, 1, 1).data].map((v) => {
      const s = v / 255;
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const inks = ["ink", "muted", "attention", "residual", "probability", "position",
    "feed-forward", "negative", "neutral", "warning"];
  return inks.flatMap((ink) => ["paper", "panel"].map((ground) =>
    [`${ink} on ${ground}`, ratio(luminance(ink), luminance(ground))]));
}"""


@pytest.mark.slow
def test_every_ink_has_contrast_on_every_ground(open_page) -> None:
    """In light and dark, as the system asks or as the reader chose by hand."""
    opened = open_page(color_scheme="light").load()
    for prepare in (
        lambda: None,
        lambda: opened.page.emulate_media(color_scheme="dark"),
        lambda: opened.page.click("#theme"),  # light again, by hand
        lambda: opened.page.emulate_media(color_scheme="light"),
        lambda: opened.page.click("#theme"),  # dark by hand
    ):
        prepare()
        pairs = opened.run(CONTRAST)
        assert len(pairs) == 20
        for pair, ratio in pairs:
            assert ratio >= 4.5, pair
    assert opened.run("() => Page.isDark()")


OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
CUT = """() => [...document.querySelectorAll("#whole_model .bars.wide .bar-label")]
  .filter((label) => label.scrollWidth > label.clientWidth).map((label) => label.textContent)"""


@pytest.mark.slow
def test_nothing_overflows_sideways(open_page) -> None:
    opened: OpenPage = open_page(width=1280).load()
    for width in (1280, 768, 360):
        opened.page.set_viewport_size({"width": width, "height": 800})
        opened.page.wait_for_timeout(400)  # the figures are drawn anew for the width
        assert opened.run(OVERFLOW) <= 0, width
        opened.type_prompt("A much longer prompt, with unbreakablewordsthatgoonandon " * 4)
        assert opened.run(OVERFLOW) <= 0, width
        opened.type_prompt("Short")
        assert opened.run(CUT) == [], width  # the names of the parts are whole


def test_reduced_motion_is_honoured(open_page) -> None:
    moving = """() => [...new Set([...document.querySelectorAll("*")].filter((node) => {
        const style = getComputedStyle(node);
        const times = `${style.transitionDuration} ${style.animationDuration}`.match(/[\\d.]+/g);
        return times.some((time) => Number(time) > 0);
      }).map((node) => node.className))]"""
    opened = open_page(reduced_motion="reduce").load()
    assert opened.run(moving) == []
    opened.page.emulate_media(reduced_motion="no-preference")
    assert opened.run(moving) == ["fill"]
