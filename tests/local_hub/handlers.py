"""How the local hub answers: routes of the hub's API, and byte ranges with their faults."""

import json
import re
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from .faults import Fault
from .repository import Repository

if TYPE_CHECKING:
    from .server import LocalHub

CHUNK = 256 * 1024
REPO = r"(?P<repo>[^/]+/[^/]+)"
ROUTES = {
    "info": re.compile(rf"/api/(?:datasets|models)/{REPO}(?:/revision/(?P<revision>[^/]+))?"),
    "tree": re.compile(
        rf"/api/(?:datasets|models)/{REPO}/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?"
    ),
    "resolve": re.compile(rf"/(?:datasets/)?{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)"),
}


class Handler(BaseHTTPRequestHandler):
    """What both servers share: sending, counting, failing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def hub(self) -> "LocalHub":
        return self.server.hub  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        """Quiet."""

    started = 0.0
    start = 0

    def begin(self) -> None:
        self.started = time.perf_counter()
        self.start = 0
        time.sleep(self.hub.latency)

    def send(
        self, kind: str, status: int, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        """One whole answer; a HEAD request gets the headers alone."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.hub.record(kind, self.path, len(body), self.started, self.start)  # before it is sent
        self.end_headers()
        if self.command != "HEAD":
            self.write_slowly(body)

    def write_slowly(self, body: bytes) -> None:
        """Share the line with the other connections, a chunk at a time."""
        for start in range(0, len(body), CHUNK):
            chunk = memoryview(body)[start : start + CHUNK]
            with self.hub.line:
                time.sleep(len(chunk) / self.hub.bandwidth)
            self.wfile.write(chunk)

    def send_json(self, kind: str, value: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send(kind, 200, body, {"Content-Type": "application/json", **(headers or {})})

    def send_error_code(self, kind: str, status: int, code: str, message: str) -> None:
        self.send(kind, status, b"{}", {"X-Error-Code": code, "X-Error-Message": message})

    def fail_without_body(self, kind: str, fault: Fault | None) -> bool:
        """Faults that need no body: a status, a reset, a stall before the answer."""
        if fault is None:
            return False
        if fault.kind == "status":
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            headers |= {} if fault.code is None else {"X-Error-Code": fault.code}
            self.send(kind, fault.status, b"", headers)
        elif fault.kind == "reset":
            self.close_connection = True
            self.hub.record(kind, self.path, 0, self.started, self.start)
            self.connection.close()
        elif fault.kind == "stall" and kind != "range":
            time.sleep(fault.seconds)
            self.close_connection = True
        else:
            return False
        return True


class HubHandler(Handler):
    """The hub itself: what is there, and where its bytes are."""

    def do_GET(self) -> None:
        self.begin()
        url = urlsplit(self.path)
        for kind, pattern in ROUTES.items():
            match = pattern.fullmatch(url.path)
            if match and not self.fail_without_body(kind, self.hub.faults.next(kind)):
                self.answer(kind, {k: unquote(v or "") for k, v in match.groupdict().items()})
            if match:
                return
        self.send_error_code("other", 404, "EntryNotFound", f"no such page: {url.path}")

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self, kind: str, wanted: dict[str, str]) -> None:
        repository = self.hub.repositories.get(wanted["repo"])
        if repository is None:
            self.send_error_code(kind, 401, "RepoNotFound", "Repository not found")
        elif wanted["revision"] and not repository.has(wanted["revision"]):
            self.send_error_code(kind, 404, "RevisionNotFound", "Invalid rev id")
        elif kind == "info":
            self.send_json("info", repository.info())
        elif kind == "tree":
            self.send_tree(repository, wanted["path"])
        else:
            self.send_file(repository, wanted["path"])

    def send_tree(self, repository: Repository, path: str) -> None:
        query = parse_qs(urlsplit(self.path).query)
        recursive = query.get("recursive", ["false"])[0].lower() == "true"
        entries = repository.tree(path, recursive)
        if entries is None:
            self.send_error_code("tree", 404, "EntryNotFound", f"{path} does not exist")
            return
        start = int(query.get("cursor", ["0"])[0])
        end = start + self.hub.page_size
        headers = {}
        if end < len(entries):
            base = urlsplit(self.path).path
            target = f"{self.hub.url}{base}?recursive={recursive}&cursor={end}"
            headers["Link"] = f'<{target}>; rel="next"'
        self.send_json("tree", entries[start:end], headers)

    def send_file(self, repository: Repository, path: str) -> None:
        file = repository.folder / path
        if not file.is_file():
            self.send_error_code("resolve", 404, "EntryNotFound", f"{path} does not exist")
            return
        entry = repository.entry(file)
        headers = {
            "X-Repo-Commit": repository.commit,
            "ETag": f'"{entry["oid"]}"',
            "X-Linked-Etag": f'"{entry["oid"]}"',
            "X-Linked-Size": str(entry["size"]),
            "Accept-Ranges": "bytes",
        }
        if self.hub.redirect:
            location = f"{self.hub.bytes_url}/{quote(repository.repo)}/{quote(path)}"
            self.send("resolve", 302, headers={**headers, "Location": location})
        else:
            send_bytes(self, file, headers)


class BytesHandler(Handler):
    """The other host, which holds the bytes."""

    def do_GET(self) -> None:
        self.begin()
        owner, name, path = unquote(urlsplit(self.path).path).lstrip("/").split("/", 2)
        send_bytes(self, self.hub.repositories[f"{owner}/{name}"].folder / path, {})

    def do_HEAD(self) -> None:
        self.do_GET()


def send_bytes(handler: Handler, file: Path, headers: dict[str, str]) -> None:
    """A file or the requested range of it, with the fault that waits for it."""
    kind = "head" if handler.command == "HEAD" else "range"
    fault = handler.hub.faults.next(kind)
    if handler.fail_without_body(kind, fault):
        return
    size = file.stat().st_size
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
    if wanted is None or (fault and fault.kind == "ignore_range"):
        start, end, status = 0, size, 200
    else:
        start, end, status = int(wanted[1]), min(size, int(wanted[2] or size - 1) + 1), 206
        handler.start = start
        headers = {**headers, "Content-Range": f"bytes {start}-{end - 1}/{size}"}
    with file.open("rb") as stream:
        stream.seek(start)
        body = stream.read(end - start)
    if fault is None or fault.kind == "ignore_range":
        handler.send(kind, status, body, headers)
    else:
        _send_damaged(handler, fault, status, body, headers)


def _send_damaged(
    handler: Handler, fault: Fault, status: int, body: bytes, headers: dict[str, str]
) -> None:
    half = len(body) // 2
    if fault.kind == "short":
        handler.send("range", status, body[:half], headers)
    elif fault.kind == "flip":
        handler.send("range", status, body[:half] + bytes([body[half] ^ 1]) + body[half + 1 :])
    else:  # truncate, stall: promise all, send half
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.hub.record("range", handler.path, half, handler.started, handler.start)
        handler.wfile.write(body[:half])
        time.sleep(fault.seconds if fault.kind == "stall" else 0)
        handler.close_connection = True
