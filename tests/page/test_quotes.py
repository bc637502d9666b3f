"""What the page quotes from the source is what the source says."""

import re
import textwrap
from html.parser import HTMLParser

from browser_page import INDEX, ROOT


class Quotes(HTMLParser):
    """Collects (file, text) of every <code data-source="file">."""

    def __init__(self) -> None:
        super().__init__()
        self.quotes: list[tuple[str, str]] = []
        self._file: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        source = dict(attrs).get("data-source")
        if tag == "code" and source:
            self._file = source
            self.quotes.append((source, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "code":
            self._file = None

    def handle_data(self, data: str) -> None:
        if self._file:
            file, text = self.quotes[-1]
            self.quotes[-1] = (file, text + data)


def is_quoted(lines: list[str], source: list[str]) -> bool:
    """Whether the lines stand in the source, one after the other, whatever their indent."""
    windows = (source[i : i + len(lines)] for i in range(len(source) - len(lines) + 1))
    wanted = textwrap.dedent("\n".join(lines))
    return any(textwrap.dedent("\n".join(window)) == wanted for window in windows)


def quotes() -> list[tuple[str, str]]:
    parser = Quotes()
    parser.feed(INDEX.read_text())
    return parser.quotes


def test_every_quotation_stands_in_its_file() -> None:
    found = quotes()
    assert len(found) >= 11
    for file, text in found:
        source = (ROOT / file).read_text().splitlines()
        assert is_quoted(text.splitlines(), source), f"{file} does not say:\n{text}"


def test_a_changed_quotation_is_noticed() -> None:
    file, text = quotes()[0]
    source = (ROOT / file).read_text().splitlines()
    assert not is_quoted(text.replace("=", "==", 1).splitlines(), source)


def test_every_step_quotes_the_code_it_explains() -> None:
    html = INDEX.read_text()
    sections = html.split("<section ")[1:]
    assert len(sections) == 12
    for section in sections:
        if section.startswith('id="your_model"'):
            continue
        assert "data-source=" in section, section[:60]
        assert '<div class="try">' in section
        assert '<div class="notice">' in section


def test_every_id_and_every_slot_of_a_step_is_unique() -> None:
    html = INDEX.read_text()
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids)) > 40
    for section in html.split("<section ")[1:]:
        slots = re.findall(r'data-slot="([^"]+)"', section)
        assert len(slots) == len(set(slots)) > 0


def test_links_and_labels_inside_the_page_lead_somewhere() -> None:
    html = INDEX.read_text()
    ids = set(re.findall(r' id="([^"]+)"', html))
    targets = re.findall(r'href="#([^"]+)"|aria-labelledby="([^"]+)"|for="([^"]+)"', html)
    assert len(targets) > 40
    assert {name for found in targets for name in found if name} <= ids
