"""A hub to push to and download from: files are kept in a folder per repository.

Small files come inside the commit, model weights by git-LFS: the client announces hash and
size, is told an address, puts the bytes there, and the commit names the hash.
"""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class UploadHub:
    """Serves on 127.0.0.1 inside a `with`; OWNER/NAME is the folder `root`/OWNER/NAME."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.requested: list[str] = []
        self.objects: dict[str, bytes] = {}
        self.created: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.hub = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "UploadHub":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                content = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                content = self.objects[value["oid"]]
                assert len(content) == value["size"]
            else:
                continue
            path = self.root / repo / value["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


class _Handler(BaseHTTPRequestHandler):
    @property
    def hub(self) -> UploadHub:
        return self.server.hub  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def reply(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        """/OWNER/NAME/resolve/REVISION/FILE"""
        self.hub.requested.append(self.path)
        owner, name, _, _, file = self.path.split("?")[0].strip("/").split("/")
        folder = self.hub.root / owner / name
        if not (folder / file).is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if folder.is_dir() else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = (folder / file).read_bytes()
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def do_PUT(self) -> None:
        content, oid = self.body(), self.path.rsplit("/", 1)[1]
        assert hashlib.sha256(content).hexdigest() == oid
        self.hub.objects[oid] = content
        self.reply({})

    def do_POST(self) -> None:
        path, body = self.path.split("?")[0], self.body()
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            self.hub.created.append(name)
            self.reply({"url": f"{self.hub.url}/{name}", "name": name, "id": name})
        elif path == "/api/validate-yaml":
            self.reply({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            self.reply({"files": [self.mode(file) for file in json.loads(body)["files"]]})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [self.upload(item) for item in json.loads(body)["objects"]]
            self.reply({"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            repo = "/".join(path.split("/")[3:5])  # /api/models/OWNER/NAME/commit/main
            self.hub.commit(repo, [json.loads(line) for line in body.splitlines()])
            address = f"{self.hub.url}/{repo}/commit/{COMMIT}"
            self.reply({"success": True, "commitOid": COMMIT, "commitUrl": address})
        else:
            self.send_error(404)

    def mode(self, file: dict[str, Any]) -> dict[str, Any]:
        large = file["path"].endswith(".safetensors")
        mode = "lfs" if large else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}

    def upload(self, item: dict[str, Any]) -> dict[str, Any]:
        action = {"href": f"{self.hub.url}/lfs/{item['oid']}", "header": {}}
        return {"oid": item["oid"], "size": item["size"], "actions": {"upload": action}}
