"""What a reader has chosen is what the figure shows, whatever is typed, resized or played."""

from typing import Any

import pytest
from browser_page import OpenPage

READOUT = '(name) => document.querySelector(`[data-slot="${name}"] .readout`).textContent'
CHECKED = """([name, legend]) => [...document.querySelectorAll(`[data-slot="${name}"] fieldset`)]
  .find((group) => group.firstChild.textContent === legend)
  .querySelector("input:checked").parentNode.textContent"""
FRAMES = """async () => { // what the film shows, while its reader presses "Speed"
  const press = (name) => [...document.querySelectorAll("#transport button")]
    .find((button) => button.textContent.startsWith(name)).click();
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const frames = [];
  Page.state.subscribe((change) => change === "frame" && frames.push(Page.state.frame));
  press("Play");
  await pause(700);
  press("Speed");
  while (Page.state.frame < Page.state.film.last) await pause(100);
  return frames;
}"""


def radio(page: OpenPage, slot: str, text: str) -> None:
    page.page.locator(f'[data-slot="{slot}"]').get_by_label(text, exact=True).click()


def test_the_last_token_that_was_chosen(open_page: Any) -> None:
    page = open_page().load("#heads")
    legend = ["mask", "Last token becomes"]
    offered = page.page.locator('[data-slot="mask"] fieldset label').all_inner_texts()
    radio(page, "mask", offered[1])
    text = page.page.input_value("#prompt")
    page.type_prompt(text.replace("was a", "was one"))
    assert page.run(CHECKED, legend) == offered[1]
    assert f"→ {offered[1]}," in page.run(READOUT, "mask")
    page.type_prompt("Two frogs")  # offers others
    assert page.run(CHECKED, legend) != offered[1]
    assert f"→ {page.run(CHECKED, legend)}," in page.run(READOUT, "mask")


@pytest.mark.slow
def test_controls_show_the_number_that_is_used(open_page: Any) -> None:
    page = open_page().load("#training")
    page.settle()
    radio(page, "accumulation", "32")
    page.page.wait_for_function(f"() => ({READOUT})('accumulation').includes('of 16')")
    assert page.run(CHECKED, ["accumulation", "Micro-batches (accumulation steps)"]) == "16"
    page.run("() => document.getElementById('inside').scrollIntoView()")
    lengths = page.run("""() => Page.samples.songs.slice(0, 6).map((song) => Page.tokenizeSong(
      song, Page.state.tokenizer, 144).first.filter((earlier) => earlier >= 0).length)""")
    slider = page.page.get_by_label("Copied syllable that is changed")
    radio(page, "song", str(1 + lengths.index(max(lengths))))
    highest = str(max(lengths))
    slider.fill(highest)
    said = page.run(READOUT, "patching")
    radio(page, "song", str(1 + lengths.index(min(lengths))))
    assert slider.input_value() == str(min(lengths))
    radio(page, "song", str(1 + lengths.index(max(lengths))))
    assert (slider.input_value(), page.run(READOUT, "patching")) == (highest, said)
    assert max(lengths) > min(lengths)
    assert page.all_problems() == []


@pytest.mark.slow
def test_neither_theme_nor_width_takes_something_back(open_page: Any) -> None:
    page = open_page().load("#training")
    page.settle()
    for shard in (3, 1, 3):
        page.page.locator('[data-slot="cache"]').get_by_role(
            "button", name=f"shard {shard}"
        ).click()
    chips = page.page.locator('[data-slot="neurons"] .chip')
    chips.nth(2).click()
    pinned = '[data-slot="neurons"] .chip.pinned .chip-text'
    neuron = page.page.inner_text(pinned)
    assert neuron == chips.nth(2).inner_text().split("\n")[0]
    for change in (
        lambda: page.page.click("#theme"),
        lambda: page.page.set_viewport_size({"width": 900, "height": 800}),
    ):
        change()
        page.page.wait_for_timeout(400)
        assert page.run(READOUT, "cache").endswith("Hits: 1, misses: 2.")
        assert "Nothing is cached" not in page.run(READOUT, "cache")
        assert page.page.inner_text(pinned) == neuron
    page.page.get_by_role("button", name="Ablate every earlier head").click()
    circuit = page.page.locator('[data-slot="circuit"]')
    circuit.get_by_role("button", name="Cancel").click()
    assert page.run(READOUT, "circuit").startswith("Over ")
    assert page.all_problems() == []


@pytest.mark.slow
def test_a_film_runs_on_when_its_speed_changes_and_ends_what_is_written(open_page: Any) -> None:
    page = open_page().load("#generation")
    page.run("() => Page.playShippedFilm()")
    page.page.wait_for_function(
        "() => Page.state.film && Page.state.frame === Page.state.film.last"
    )
    frames = page.run(FRAMES)
    assert len(frames) > 8
    assert frames == sorted(frames)
    page.page.get_by_role("button", name="Write 24 tokens both ways").click()
    page.page.get_by_role("button", name="Write 40").click()
    for where, frame in (("generation", 3), ("tokens", 9)):  # near, and out of sight
        page.run(
            "(id) => document.getElementById(id).scrollIntoView({ behavior: 'instant' })", where
        )
        page.page.wait_for_timeout(300)
        page.run("(frame) => Page.seekFilm(frame)", frame)
        page.page.wait_for_timeout(300)
        if where == "generation":
            page.page.get_by_role("button", name="Write 24 tokens both ways").click()
            page.page.get_by_role("button", name="Write 40").click()
    assert page.all_problems() == []


def test_a_link_carries_a_prompt_of_any_length_that_can_be_typed(open_page: Any) -> None:
    page = open_page().load("#tokens&prompt=" + "fox%20" * 3000)
    assert len(page.page.input_value("#prompt")) == 4 * 3000


def test_text_may_be_dragged_and_files_are_taken(shared_page: OpenPage) -> None:
    script = """() => [(data) => data.setData("text/plain", "a fox"),
      (data) => data.items.add(new File(["x"], "x.safetensors"))].map((fill) => {
        const dataTransfer = new DataTransfer();
        fill(dataTransfer);
        const event = new DragEvent("dragover", { dataTransfer, bubbles: true, cancelable: true });
        document.getElementById("prompt").dispatchEvent(event);
        return event.defaultPrevented;
      })"""
    assert shared_page.run(script) == [False, True]


def test_numbers_that_round_up_to_another_digit(shared_page: OpenPage) -> None:
    script = "() => [999.6, 999.4, 0.9996, 1000.4, 99.96].map((x) => Page.format(x))"
    assert shared_page.run(script) == ["1,000", "999", "1.00", "1,000", "100"]
    assert shared_page.run("() => Page.format(123.4, 2)") == "123"
