"""How soon is the page ready, and how soon does it follow the prompt and the film?

    uv run --group dev python benchmarks/page.py

The page is opened in Chromium, from disk; times are of its own clock, medians in milliseconds,
layout included. The film is the one that comes with the page. Typing is real keys, one every 150
ms; a task that blocks the page for 50 ms or more is what Chromium calls a "longtask".
"""

import shutil
from pathlib import Path
from statistics import median

from playwright.sync_api import Page, sync_playwright

from transformer.terminal.command_line import run

INDEX = Path(__file__).parents[1] / "index.html"
PROMPT = "Belmo sang: tri la mi zum ta ki bom!"  # 16 tokens, the start included
LONG = " ".join([PROMPT] * 8)  # 121 tokens, and 128 with what is typed behind it
TYPED = " Belmo sang: tri"
ROUNDS = 9
WATCH = """
window.tasks = [];
new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((e) => e.duration)))
  .observe({ type: "longtask" });
"""
READY = "() => document.documentElement.dataset.ready === 'true'"
LOADED = "() => performance.getEntriesByName('ready')[0].startTime"
FILLED = """() => [...document.querySelectorAll("main figure:has([data-slot])")].every(
  (figure) => [...figure.querySelectorAll(".readout, table")].some(
    (node) => node.textContent && !node.textContent.startsWith("Measuring")))"""
GO = "(id) => document.getElementById(id).scrollIntoView({ behavior: 'instant' })"
EDIT = """(text) => new Promise((done) => {
  const start = performance.now();
  new MutationObserver((_, self) => {
    self.disconnect();
    document.body.getBoundingClientRect();
    done(performance.now() - start);
  }).observe(document.documentElement, { attributeFilter: ["data-rendered"] });
  Page.setPrompt(Page.state, text);
})"""
FOCUS = """() => {
  window.tasks = [];
  document.getElementById("prompt").focus({ preventScroll: true });
}"""
SEEK = """(frame) => {
  const start = performance.now(), slider = document.querySelector("#transport input");
  slider.value = frame;
  slider.dispatchEvent(new Event("input"));
  document.body.getBoundingClientRect();
  return performance.now() - start;
}"""


def main() -> None:
    """Load, type and play."""
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(WATCH)
        print(f"ready: {median([load(page) for _ in range(3)]):.0f}")
        print(f"an edit, the figures near its top: {median(edits(page)):.0f}")
        sections = fill(page)
        print(f"an edit, all figures: {median(edits(page)):.0f}")
        for name in sections:
            page.evaluate(GO, name)
            tasks = typing(page)
            print(f"typing at 128 tokens in #{name}: {max(tasks, default=0):.0f} at most, "
                  f"{sum(tasks):.0f} in all")  # fmt: skip
        page.get_by_role("button", name="Play the film").first.click()
        page.wait_for_function("() => Page.state.film !== null")
        fill(page)
        edits(page)
        for name in sections:
            page.evaluate(GO, name)
            page.wait_for_timeout(500)
            last = page.evaluate("Page.state.film.last")
            frames = [page.evaluate(SEEK, frame) for frame in range(last + 1)]
            print(f"a frame at #{name}: {median(frames):.0f}, at most {max(frames):.0f}")
        browser.close()


def load(page: Page) -> float:
    page.goto(INDEX.as_uri())
    page.wait_for_function(READY)
    return float(page.evaluate(LOADED))


def edits(page: Page) -> list[float]:
    """Every edit takes one letter more away from the prompt."""
    return [page.evaluate(EDIT, PROMPT[: len(PROMPT) - n]) for n in range(ROUNDS)]


def typing(page: Page) -> list[float]:
    """The tasks of 50 ms and more while somebody types at the end of a long prompt."""
    page.evaluate(EDIT, LONG)
    page.evaluate("(text) => { document.getElementById('prompt').value = text; }", LONG)
    page.wait_for_timeout(3000)
    page.evaluate(FOCUS)
    page.keyboard.press("Control+End")
    for letter in TYPED:
        page.keyboard.type(letter)
        page.wait_for_timeout(150)
    page.wait_for_timeout(1000)
    tasks: list[float] = page.evaluate("() => window.tasks")
    return tasks


def fill(page: Page) -> list[str]:
    """Scroll past all sections and wait until all figures have something to show."""
    script = "() => [...document.querySelectorAll('main > section')].map(({ id }) => id)"
    sections: list[str] = page.evaluate(script)
    for name in sections:
        page.evaluate(GO, name)
        page.wait_for_timeout(50)
    page.wait_for_function(FILLED, timeout=240_000)
    return sections


if __name__ == "__main__":
    run(main)
