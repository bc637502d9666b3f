"""How long does the page take with a model of GPT-2's size, and how long is it ever blocked?

    uv run --group dev python benchmarks/page_large.py [model.safetensors]

Without a file, a model with random weights is written: 124 M parameters, 498 MB in float32. The
page is opened in Chromium, from disk. Its own clock says how long it takes from the choice of the
file to the first figures, and from an edit of the last token to the figures drawn anew. What the
reader asks for by a button comes after that. The longest blocking task is what Chromium reports
("longtask", 50 ms and more): for so long the page would not have answered.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

import torch
from playwright.sync_api import Page, sync_playwright

from transformer.config import ModelConfig, Variant
from transformer.data.tokenizer import load_tokenizer
from transformer.ladder import build_model
from transformer.runs.model_file import write_model_file

INDEX = Path(__file__).parents[1] / "index.html"
PROMPT = "Long ago, by the sea, lived a shy frog."  # 11 tokens, the start included
EDITS = 7
WATCH = """
window.tasks = [];
new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((e) => e.duration)))
  .observe({ type: "longtask" });
window.drawn = (what) => new Promise((done) => {
  const began = performance.now(), times = {};
  Page.state.subscribe((change) => {
    if (change === what && !times.logits) times.logits = performance.now() - began;
  });
  new MutationObserver((_, self) => {
    if (!times.logits) return;
    times.figures = performance.now() - began;
    self.disconnect();
    done([times.logits / 1000, times.figures / 1000]);
  }).observe(document.documentElement, { attributeFilter: ["data-rendered"] });
});
addEventListener("change", (event) => {
  if (event.target.type === "file") window.dropped = window.drawn("model");
}, true);
"""
EDIT = """(text) => {
  const times = window.drawn("prompt"), prompt = document.getElementById("prompt");
  prompt.value = text;
  prompt.dispatchEvent(new Event("input"));
  return times;
}"""
PRESS = """([slot, label, done]) => new Promise((ended) => {
  const box = document.querySelector(`[data-slot=${slot}]`), began = performance.now();
  [...box.querySelectorAll("button")].find((one) => one.textContent === label).click();
  const text = () => box.querySelector(".readout").textContent;
  const look = () => (new RegExp(done).test(text())
    ? ended((performance.now() - began) / 1000) : setTimeout(look, 50));
  look();
})"""
BUTTONS = [
    ("the mask's effect", "mask", "Compare the logits", "exactly 0"),
    ("the first column of the lens", "lens", "Read every layer", "→"),
    ("a song, read twice", "song", "Read the song", "most attention"),
    ("a tenth of patching", "patching", "Patch every block and position", r"[1-9]\d % done"),
]


def random_model(folder: Path) -> Path:
    tokenizer = load_tokenizer("p50k_base")
    variant = Variant(positions="learned", feed_forward="gelu_tanh", embedding_scale=1.0)
    torch.manual_seed(0)
    model = build_model(
        ModelConfig(tokenizer.vocab_size, 768, 12, 12, 3072, 1024, dropout=0.0, variant=variant)
    )
    path = folder / "model.safetensors"
    write_model_file(path, model, tokenizer, step=0)
    return path


def longest(page: Page) -> float:
    found: float = page.evaluate("() => Math.max(0, ...window.tasks.splice(0))")
    return found


def measure(page: Page, path: Path) -> None:
    page.set_default_timeout(600_000)
    page.add_init_script(WATCH)
    page.goto(INDEX.as_uri() + "#tokens")
    page.wait_for_function("() => document.documentElement.dataset.ready === 'true'")
    page.evaluate(EDIT, PROMPT)
    page.wait_for_timeout(5000)
    longest(page)
    page.set_input_files('#your_model input[type="file"]', path)
    page.wait_for_function("() => window.dropped")
    logits, figures = page.evaluate("() => window.dropped")
    print(f"from the drop to the logits {logits:.1f} s, to the figures {figures:.1f} s")
    print(f"longest blocking task until then: {longest(page):.0f} ms")
    words = ["frogs", "dog", "bird", "cat", "mouse", "fox", "owl"]
    edits = [page.evaluate(EDIT, PROMPT.replace("frog.", words[i])) for i in range(EDITS)]
    for name, seconds in zip(
        ("logits and attention", "figures"), zip(*edits, strict=True), strict=True
    ):
        print(f"from an edit of the last token to the {name}: median {median(seconds):.2f} s, "
              f"most {max(seconds):.2f} s")  # fmt: skip
    print(f"longest blocking task of {EDITS} edits: {longest(page):.0f} ms")
    for section in page.query_selector_all("main > section"):
        section.scroll_into_view_if_needed()
        page.wait_for_timeout(200)
    for name, slot, label, done in BUTTONS:
        seconds = page.evaluate(PRESS, [slot, label, done])
        print(f"{name}: {seconds:.1f} s; longest blocking task {longest(page):.0f} ms")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else random_model(Path(folder))
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        measure(browser.new_page(), path)
        browser.close()


if __name__ == "__main__":
    main()
