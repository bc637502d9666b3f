"""The two servers of a local hub: the one that knows the repositories, and the one with the bytes.

The real hub answers a request for a large file with a redirect (302) to another host, so the
bytes here come from a second port. Both count their requests.
"""

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path

from .faults import Fault, FaultPlan
from .handlers import BytesHandler, HubHandler
from .repository import Repository

FINEWEB_REVISION = "9bb295ddab0e05d785b879661af7260fed5140fc"  # what FineWeb is pinned to


@dataclass(frozen=True)
class Request:
    """`kind`: info, tree, resolve (redirects included), range (bytes), head, other."""

    kind: str
    path: str
    bytes: int
    seconds: float
    start: int = 0  # of a range


class LocalHub:
    """Serves `folders` (repository name → folder) on 127.0.0.1 until `stop`.

    Attributes:
        url: the endpoint to give to the client.
        requests: every answered request, in order.
        page_size: entries in one page of a listing.
        redirect: whether bytes come from the second port (True) or straight from the first.
        latency: seconds before each answer.
        bandwidth: bytes per second of the one line that all connections share.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        *,
        port: int = 0,
        redirect: bool = True,
        page_size: int = 1000,
        latency: float = 0.0,
        bandwidth: float = float("inf"),
        revisions: Iterable[str] = ("main", FINEWEB_REVISION),
    ) -> None:
        names = frozenset(revisions)
        self.repositories = {
            repo: Repository(repo, Path(folder), names) for repo, folder in folders.items()
        }
        self.redirect = redirect
        self.page_size = page_size
        self.latency = latency
        self.bandwidth = bandwidth
        self.line = threading.Lock()
        self.faults = FaultPlan()
        self.requests: list[Request] = []
        self._port = port
        self._bytes_port = 0
        self._servers: list[_Server] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def bytes_url(self) -> str:
        """Another host name than `url`, as on the real hub."""
        return f"http://localhost:{self._bytes_port}"

    def start(self) -> "LocalHub":
        """Start serving; after a `stop`, on the same ports as before."""
        bytes_server = _Server(("127.0.0.1", self._bytes_port), BytesHandler, self)
        hub_server = _Server(("127.0.0.1", self._port), HubHandler, self)
        self._servers = [hub_server, bytes_server]
        self._port, self._bytes_port = (server.server_address[1] for server in self._servers)
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Go away: connections are closed, new ones refused."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
            server.close_connections()
        self._servers = []

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    def fail(self, fault: Fault, *, kind: str = "range", times: int = 1) -> None:
        """The next `times` requests of this kind (a regular expression) meet the fault."""
        self.faults.order(fault, kind=kind, times=times)

    def forget(self) -> None:
        """Set the counters back, and drop faults that met no request."""
        self.requests.clear()
        self.faults.clear()

    def count(self, kind: str) -> int:
        return Counter(request.kind for request in self.requests)[kind]

    def bytes_sent(self) -> int:
        return sum(request.bytes for request in self.requests if request.kind == "range")

    def record(self, kind: str, path: str, sent: int, since: float, start: int) -> None:
        self.requests.append(Request(kind, path, sent, time.perf_counter() - since, start))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type, hub: LocalHub) -> None:
        self.hub = hub
        self._connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        self._connections.add(request)
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may hang up."""

    def close_connections(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
