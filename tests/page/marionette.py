"""Firefox, driven through Marionette, the remote control that it carries itself.

Messages are JSON with their length in front, "17:[0,1,\"Name\",{}]", over a socket on the
loopback; the answer to [0, id, name, parameters] is [1, id, error, result].
"""

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

PREFERENCES = {
    "marionette.port": 0,  # any free one; Firefox writes it into its profile
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}


def find_firefox() -> str | None:
    return shutil.which("firefox-esr") or shutil.which("firefox")


class Firefox:
    """A headless Firefox with one tab; a context manager."""

    def __init__(self, path: str, profile: Path) -> None:
        lines = (f'user_pref("{k}", {json.dumps(v)});' for k, v in PREFERENCES.items())
        (profile / "user.js").write_text("\n".join(lines))
        command = [path, "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        try:
            self._socket = self._connect(profile / "MarionetteActivePort")
            self._buffer, self._id = b"", 0
            self._receive()  # the greeting
            self.command("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {}}})
        except BaseException:
            self._process.kill()
            raise

    def _connect(self, port_file: Path) -> socket.socket:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            if port_file.is_file() and (text := port_file.read_text().strip()):
                return socket.create_connection(("127.0.0.1", int(text)), timeout=120)
            time.sleep(0.1)
        raise RuntimeError("Firefox did not open its remote control")

    def _receive(self) -> Any:
        while b":" not in self._buffer:
            self._buffer += self._socket.recv(65536)
        length, _, rest = self._buffer.partition(b":")
        while len(rest) < int(length):
            rest += self._socket.recv(65536)
        self._buffer = rest[int(length) :]
        return json.loads(rest[: int(length)])

    def command(self, name: str, parameters: dict[str, Any]) -> Any:
        self._id += 1
        message = json.dumps([0, self._id, name, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self._receive()
        if error:
            raise RuntimeError(f"{name}: {error['message']}")
        return result

    def open(self, url: str) -> None:
        self.command("WebDriver:Navigate", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """The body of a function, run beside the page; `page` is the page's own window."""
        body = f"const page = window.wrappedJSObject; {script}"
        parameters = {"script": body, "args": list(arguments), "sandbox": "default"}
        return self.command("WebDriver:ExecuteScript", parameters)["value"]

    def __enter__(self) -> "Firefox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(timeout=30)
