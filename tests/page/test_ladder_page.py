"""Step 11: the measured ladder, the reader's own, and what a browser cannot show of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_page import INDEX, ROOT, OpenPage
from playwright.sync_api import Browser

from transformer.ladder.rungs import RUNGS

STATUS = '#ladder [data-slot="ladder-file"] .status'
READOUT = '#ladder [data-slot="ladder"] .readout'
BACK = "Back to the table of this page"
BARS = """() => [...document.querySelectorAll("#ladder .rung")].map((node) => ({
  name: node.querySelector(".rung-name").textContent, text: node.innerText,
  pressed: node.getAttribute("aria-pressed") === "true" }))"""


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[OpenPage]:
    size = {"width": 1280, "height": 900}
    context = browser.new_context(viewport=size, reduced_motion="reduce")  # no smooth scrolling
    yield OpenPage(context.new_page()).load("#ladder")
    context.close()


@pytest.fixture
def shipped_table(page: OpenPage) -> Any:
    """The figure shows the page's own table again."""
    back = page.page.get_by_role("button", name=BACK)
    if back.is_visible():  # another table is shown
        back.click()
    return page.run("() => Page.ladderTable")


def rung(name: str, loss: float, gain: tuple[float, float] | None, **changes: Any) -> Any:
    reached = {"mean": 500.0, "deviation": 0.0}
    curve = [[250, loss + 1], [500, loss + 0.2], [1000, loss]]
    values = {
        "rung": name, "factor": 1.0, "seeds": 3, "loss": {"mean": loss, "deviation": 0.01},
        "gain": gain and {"mean": gain[0], "deviation": gain[1]}, "tokens": 1000,
        "tokens_to_target": reached, "seconds_per_token": 0.002, "parameters": 1234567,
        "peak_mb": 100.0, "induction": None, "curve": curve,
    }  # fmt: skip
    return values | changes


def a_ladder(**changes: Any) -> Any:
    rungs = [
        rung("classic", 2.0, None, seconds_per_token=0.001),
        rung("rotary", 1.5, (0.5, 0.02)),
        rung("<b>new</b>", 1.499, (0.001, 0.02), peak_mb=None, tokens_to_target=None),
        rung("softcap", 1.6, (-0.1, 0.02)),
        rung("muon", 1.4, (0.3, 0.0), seeds=1, seconds_per_token=0.0025),
    ]
    start = {"format": "ladder 1", "dataset": "text", "tokenizer": "bpe:512", "tokens": 1000}
    return {**start, "seeds": 3, "floor": None, "rungs": rungs, **changes}


def give(page: OpenPage, content: Any, folder: Path) -> str:
    """A ladder for the picker; the message it ends with."""
    path = folder / "mine.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    page.run(f"() => {{ document.querySelector('{STATUS}').textContent = ''; }}")
    page.page.set_input_files('#ladder input[type="file"]', path)
    page.page.wait_for_function(f"() => document.querySelector('{STATUS}').textContent")
    return page.page.inner_text(STATUS)


def press(page: OpenPage, name: str) -> str:
    page.page.locator(".rung", has_text=name).first.click()
    return page.page.inner_text(READOUT)


def test_every_rung_of_the_shipped_table_has_its_bar_and_its_line(
    page: OpenPage, shipped_table: Any
) -> None:
    bars, rungs = page.run(BARS), shipped_table["rungs"]
    assert [bar["name"] for bar in bars] == [each["rung"] for each in rungs]
    for bar, each in zip(bars, rungs, strict=True):
        if each["gain"]:
            mean, deviation = each["gain"]["mean"], each["gain"]["deviation"]
            spread = f" ± {deviation:.3f}" if each["seeds"] > 1 else ""
            assert f"{mean:z.3f}{spread}".replace("-", "−") in bar["text"].split("\n")
    gains = [each["gain"]["mean"] if each["gain"] else -9 for each in rungs]
    assert [bar["pressed"] for bar in bars].index(True) == gains.index(max(gains))
    lines = "() => document.querySelectorAll('#ladder [data-slot=ladder] polyline').length"
    assert page.run(lines) == len(rungs)
    note = page.page.inner_text('#ladder [data-slot="ladder"] .note')
    assert f"{shipped_table['tokens']:,} tokens" in note
    assert "seed" in note
    rules = page.page.locator("#ladder .direct").all_text_contents()
    assert f"{rungs[0]['rung']} ends: {rungs[0]['loss']['mean']:.3f}" in rules
    assert any(text.startswith("floor") for text in rules) == (shipped_table["floor"] is not None)


def test_a_press_selects_a_rung_by_mouse_keyboard_and_touch(
    page: OpenPage, shipped_table: Any, open_page: Any
) -> None:
    for each in shipped_table["rungs"][::4]:
        said = press(page, each["rung"])
        assert f"Selected: {each['rung']}, loss {each['loss']['mean']:.3f} " in said
        label = page.page.get_attribute('#ladder [data-slot="ladder"] svg', "aria-label")
        assert f"{each['rung']} is highlighted" in str(label)
        about = page.page.inner_text("#ladder .about-rung")
        assert about.startswith(each["rung"])
        assert f"{each['parameters']:,}" in about
    press(page, shipped_table["rungs"][-1]["rung"])
    pressed = page.page.locator('.rung[aria-pressed="true"]')
    assert pressed.evaluate("(node) => node === document.activeElement")
    page.page.keyboard.press("Shift+Tab")
    page.page.keyboard.press("Enter")
    before = shipped_table["rungs"][-2]["rung"]
    assert f"Selected: {before}," in page.page.inner_text(READOUT)
    touched = open_page(width=360, has_touch=True).load("#ladder")
    touched.page.locator(".rung").first.tap()
    assert "Selected: classic" in touched.page.inner_text(READOUT)


def test_the_lines_are_over_time_or_over_tokens(page: OpenPage, shipped_table: Any) -> None:
    last = shipped_table["rungs"][-1]
    ticks = "#ladder [data-slot=ladder] .tick.middle"
    for over, factor in (("tokens", 1.0), ("seconds of training", last["seconds_per_token"])):
        page.page.locator("#ladder label", has_text=over).first.click()
        name = page.page.locator("#ladder [data-slot=ladder] .axis-name").first.text_content()
        assert name == over
        shown = page.page.locator(ticks).all_text_contents()
        assert float(shown[-1].replace(" k", "000").replace(",", "")) == pytest.approx(
            last["tokens"] * factor, rel=0.5
        )


def test_what_rounds_to_nothing_has_no_sign(page: OpenPage) -> None:
    values = [-0.0002, -0.02, 0, -10]
    shown = page.run("(values) => values.map((value) => Page.decimals(value, 3))", values)
    assert shown == ["0.000", "−0.020", "0.000", "−10.000"]


def test_own_numbers_and_what_they_are_worth_in_words(page: OpenPage, tmp_path: Path) -> None:
    assert "mine.json is loaded" in give(page, a_ladder(), tmp_path)
    assert "text files, tokenizer bpe:512: 5 rungs, 1,000 tokens" in page.page.inner_text("#ladder")
    assert "by more than the spread between seeds" in press(page, "rotary")
    about = page.page.inner_text("#ladder .about-rung")
    assert "2.00 × fewer" in about  # 1,000 tokens against 500
    assert "1.00 × fewer" in about  # but each takes twice as long
    assert "alive below" in about
    assert "no difference that one could rely on" in press(page, "<b>new</b>")
    about = page.page.inner_text("#ladder .about-rung")
    assert "<b>new</b> is a rung that this page does not know" in about
    assert "not reached by every seed" in about
    assert "unknown" in about
    said = press(page, "softcap")
    assert "gain −0.100 ± 0.020 (mean ± standard deviation over 3 seeds)" in said
    assert "makes the loss worse" in said
    said = press(page, "muon")
    assert "gain 0.300 (one seed). With one seed nobody knows" in said
    assert "1.25 × more" in page.page.inner_text("#ladder .about-rung")
    words = {bar["name"]: bar["text"] for bar in page.run(BARS)}
    assert "worse" in words["softcap"]
    assert "no difference" in words["<b>new</b>"]
    assert page.run("() => document.querySelectorAll('#ladder b').length") == 0
    back = page.page.get_by_role("button", name=BACK)
    back.click()
    assert not back.is_visible()  # nothing to go back to
    names = [bar["name"] for bar in page.run(BARS)]
    assert names == page.run("() => Page.ladderTable.rungs.map(({ rung }) => rung)")
    assert page.all_problems() == []


def test_a_dropped_ladder_loads_as_well(page: OpenPage, shipped_table: Any) -> None:
    script = """(text) => {
      const data = new DataTransfer();
      data.items.add(new File([text], "dropped.json"));
      const event = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
      document.querySelector("#ladder .drop-zone").dispatchEvent(event);
    }"""
    assert len(shipped_table["rungs"]) != 2
    page.run(script, json.dumps(a_ladder(rungs=a_ladder()["rungs"][:2], floor=1.0)))
    page.page.wait_for_function("() => document.querySelectorAll('#ladder .rung').length === 2")
    rules = page.page.locator("#ladder .direct").all_text_contents()
    assert "floor 1.000: the best possible" in rules


def with_rung(**changes: Any) -> Any:
    return a_ladder(rungs=[rung("classic", 2.0, None), rung("rotary", 1.5, (0.5, 0.1)) | changes])


MALFORMED: list[tuple[Any, str]] = [
    ("{", "not readable JSON"),
    ("[1]", "holds no JSON object"),
    ({}, 'this page reads "ladder 1"'),
    (a_ladder(format="ladder 2"), 'Its format is "ladder 2"'),
    (a_ladder(rungs=[]), "not a list of 1 to 64"),
    (a_ladder(rungs=[7]), "Rung 0 is not a JSON object"),
    (a_ladder(seeds=0), "The table has seeds = 0"),
    (a_ladder(floor="deep"), 'floor = "deep"'),
    (a_ladder(dataset="x" * 70), "dataset ="),
    (with_rung(rung="classic"), 'The rung "classic" is there twice'),
    (with_rung(loss=3), "Rung 1 has loss = 3; it must be a mean and a deviation"),
    (with_rung(gain={"mean": 1, "deviation": -1}), "Rung 1 has gain ="),
    (with_rung(seconds_per_token=0), "seconds_per_token = 0"),
    (with_rung(curve=[[1, 2], [3]]), "Rung 1 has curve ="),
    (json.dumps(with_rung(parameters=12345)).replace("12345", "1e999"), "parameters ="),
    (" " * 2**20 + "{}", "more than 1 MB"),
]


def test_malformed_ladders_are_refused_in_words_and_the_old_one_stays(
    page: OpenPage, shipped_table: Any, tmp_path: Path
) -> None:
    for content, said in MALFORMED:
        message = give(page, content, tmp_path)
        assert message.startswith("mine.json was not loaded."), content
        assert said in message, (content, message)
        assert "The table that was there is kept." in message
    assert [bar["name"] for bar in page.run(BARS)] == [r["rung"] for r in shipped_table["rungs"]]
    assert page.all_problems() == []


def test_the_page_says_of_every_rung_what_it_is() -> None:
    html = " ".join(INDEX.read_text().split())
    found = dict(re.findall(r'<li data-rung="(\w+)"><strong>\1</strong>(.*?)</li>', html))
    assert list(found) == list(RUNGS)
    source, table = ROOT / "src/transformer", (ROOT / "src/transformer/ladder/rungs.py").read_text()
    for name, text in found.items():
        files = re.findall(r"<code>(\S+\.py)</code>", text)
        assert len(files) == (name != "classic"), name
        said = "".join((source / file).read_text().split('"""')[1] for file in files)
        said += re.findall(rf"^\| `{name}` \|.*$", table, re.M)[0]
        assert [year for year in re.findall(r"^ \((\d{4})\)", text) if year not in said] == []


def test_the_shipped_table_is_small_and_passes_its_own_check(
    page: OpenPage, shipped_table: Any
) -> None:
    assert (ROOT / "page/ladder.data.js").stat().st_size < 30_000
    checked = page.run("() => Page.checkLadder(Page.ladderTable)")
    assert [each["rung"] for each in checked["rungs"]] == [
        r["rung"] for r in shipped_table["rungs"]
    ]
    assert {each["rung"] for each in shipped_table["rungs"]} <= set(RUNGS)


def test_without_its_table_the_page_says_so(open_page: Any) -> None:
    opened = open_page()
    empty = {"status": 200, "content_type": "text/javascript", "body": ""}
    opened.page.route("**/ladder.data.js", lambda route: route.fulfill(**empty))
    opened.load("#ladder")
    assert "page/ladder.data.js is missing" in opened.page.inner_text(STATUS)
    assert opened.all_problems() == []
