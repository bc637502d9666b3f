"""A loaded page, for tests to talk to."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
INDEX = ROOT / "index.html"
READY = "() => document.documentElement.dataset.ready === 'true'"
RENDERED = "() => Number(document.documentElement.dataset.rendered)"
TOUR = """async () => {
  for (const section of document.querySelectorAll("main > section")) {
    section.scrollIntoView({ behavior: "instant" });
    await new Promise((done) => setTimeout(done, 50));
  }
}"""
FILLED = """() => [...document.querySelectorAll("main figure:has([data-slot])")].every(
  (figure) => [...figure.querySelectorAll(".readout, table")].some(
    (node) => node.textContent && !node.textContent.startsWith("Measuring")))"""
CSP_WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


class OpenPage:
    """A loaded page, with everything that went wrong in it so far."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        self.requests: list[str] = []
        page.set_default_timeout(240_000)  # a busy machine is no failure of the page
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        page.on("request", lambda request: self.requests.append(request.url))
        page.add_init_script(CSP_WATCH)

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console {message.type}: {message.text}")

    def load(self, fragment: str = "") -> "OpenPage":
        self.page.goto(INDEX.as_uri() + fragment)
        self.page.wait_for_function(READY)
        return self

    def run(self, script: str, argument: Any = None) -> Any:
        """Evaluate a JavaScript function in the page."""
        return self.page.evaluate(script, argument)

    def type_prompt(self, text: str) -> None:
        """Fill in the prompt and wait until every figure shows it."""
        self.answered()
        before = self.run(RENDERED)
        self.page.fill("#prompt", text)
        self.page.wait_for_function(
            "(before) => Number(document.documentElement.dataset.rendered) > before", arg=before
        )

    def answered(self) -> None:
        """Wait until the model has answered what figures asked about the prompt."""
        self.run("() => Page.state.engine.answered?.()")

    def tour(self) -> None:
        """Scroll past every section, as a reader does: some figures wait until they are seen."""
        self.run(TOUR)

    def settle(self) -> None:
        """Tour, then wait until every figure has something to show."""
        self.tour()
        self.page.wait_for_function(FILLED)

    def all_problems(self) -> list[str]:
        return self.problems + self.run("() => window.violations")
