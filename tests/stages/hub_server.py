"""A server that speaks as much of the Hugging Face hub's API as an upload of a folder and a download need.

Large files go by Git LFS (`HF_HUB_DISABLE_XET`): the hub's other protocol, Xet, is its own library's.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

TOKEN = "hf_of_these_tests_alone"
LICENCES = {"unknown", "other", "mit", "apache-2.0", "cc-by-nc-4.0"}
COMMIT = "c" * 40


class Hub(ThreadingHTTPServer):
    """Repositories by name, each with its files, and what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: list[str] = []
        self.messages: list[str] = []
        self.large: dict[str, bytes] = {}
        self.uploads: list[str] = []
        self.status = 0
        """status of all answers; 0: as they are"""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, value: Any, status: int = 200, **headers: str) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        oid = self.path.removeprefix("/lfs/")
        assert hashlib.sha256(content).hexdigest() == oid
        self.server.large[oid] = content
        self.answer({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.status:
            return self.answer({"error": "busy"}, self.server.status)
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.answer({"error": "Invalid user token."}, 401, X_Error_Message="Invalid user token.")
        if self.path == "/api/validate-yaml":
            return self.validate(json.loads(body)["content"])
        if self.path == "/api/repos/create":
            return self.create(json.loads(body))
        if self.path.endswith("/preupload/main"):
            files = [file["path"] for file in json.loads(body)["files"]]
            modes = {path: "lfs" if path.endswith(".safetensors") else "regular" for path in files}
            return self.answer(
                {"files": [{"path": p, "uploadMode": modes[p], "shouldIgnore": False} for p in files]}
            )
        if self.path.endswith("/info/lfs/objects/batch"):
            return self.answer({"objects": [self.action(o) for o in json.loads(body)["objects"]]})
        if commit := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            return self.commit(commit[1], [json.loads(line) for line in body.splitlines()])
        return self.answer({"error": "not found"}, 404)

    def validate(self, card: str) -> None:
        licence = yaml.safe_load(card.split("---\n")[1])["license"]
        if licence in LICENCES:
            return self.answer({"errors": [], "warnings": []})
        return self.answer({"errors": [{"message": f'"license" must not be {licence}'}]}, 400)

    def create(self, request: dict[str, Any]) -> None:
        name = f"{request['organization']}/{request['name']}"
        if name in self.server.repositories:
            return self.answer({"url": f"{self.server.url}/{name}"}, 409)
        self.server.repositories[name] = {}
        self.server.private += [name] if request.get("visibility") == "private" else []
        return self.answer({"url": f"{self.server.url}/{name}"})

    def action(self, item: dict[str, Any]) -> dict[str, Any]:
        if item["oid"] in self.server.large:
            return item
        self.server.uploads.append(item["oid"])
        return {**item, "actions": {"upload": {"href": f"{self.server.url}/lfs/{item['oid']}"}}}

    def commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.server.messages.append(value["summary"])
            else:
                is_large = line["key"] == "lfsFile"
                content = self.server.large[value["oid"]] if is_large else base64.b64decode(value["content"])
                self.server.repositories[name][value["path"]] = content
        self.answer({"commitUrl": f"{self.server.url}/{name}/commit/{COMMIT}", "commitOid": COMMIT})

    def do_GET(self) -> None:
        name, _, path = self.path.strip("/").partition("/resolve/main/")
        content = self.server.repositories.get(name, {}).get(path)
        if content is None:
            return self.answer({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
        return self.answer(content, X_Repo_Commit=COMMIT, ETag=f'"{hashlib.sha256(content).hexdigest()}"')

    do_HEAD = do_GET  # noqa: N815


@contextmanager
def serving_hub() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
