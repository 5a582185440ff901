"""A hub for models on this computer, in the layout of the Hugging Face Hub, with every fault that a network has.

The hub answers HEAD and GET of /OWNER/NAME/resolve/REVISION/FILE. Large files it does not send itself: as the real one
does, it sends the caller on to a storage, which is another server and is not to be shown the token. A third server,
"elsewhere", has everything, and nobody should be sent to it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from stereodiff_blender.engine.weights import records
from stereodiff_blender.engine.weights.cards import read_card
from stereodiff_blender.engine.weights.events import WeightsEvent, parse_line

COMMIT = "4b1d" * 10
PIECE = 64 * 1024
ENDLESS = 1000 * PIECE
"""Bytes after which even an endless answer ends, so that a product that takes them all harms nobody."""


def safetensors_bytes(size: int, seed: int = 0) -> bytes:
    """A whole safetensors file with one tensor of size bytes that do not repeat."""
    header = json.dumps({"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    blocks = (hashlib.sha256(f"{seed} {number}".encode()).digest() for number in range(-(-size // 32)))
    return len(header).to_bytes(8, "little") + header + b"".join(blocks)[:size]


@dataclass(frozen=True)
class Request:
    """server: "hub" or "storage". path: of the address. headers: names in lower case."""

    server: str
    method: str
    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str:
        return self.headers.get("range", "")


@dataclass
class Faults:
    """What goes wrong.

    status, error_code: every answer of the hub. cuts: the storage hangs up after so many bytes of its next answers, one
    number each. stalls_after: it sends so many bytes and then waits. pause_s: between pieces. claimed_...: what the hub
    says instead of the truth. no_commit: it forgets to be a hub. silent: it takes requests and does not answer.
    no_size: it tells no sizes. has_xet: it says that files are in its newer storage.

    What a server does with GET, by its name: endless sends zeros, refusing a 404 with endless zeros, packed sends what
    it should have sent as gzip, junk sends numbers that are none, and sends_on sends the caller on to an address.
    """

    status: int = 0
    error_code: str = ""
    cuts: list[int] = field(default_factory=list)
    stalls_after: int | None = None
    pause_s: float = 0.0
    claimed_size: int | None = None
    claimed_sha256: str = ""
    claimed_commit: str = ""
    no_commit: bool = False
    silent: bool = False
    no_size: bool = False
    has_xet: bool = False
    endless: str = ""
    refusing: str = ""
    packed: str = ""
    junk: str = ""
    sends_on: dict[str, str] = field(default_factory=dict)


class Hub:
    """files: "OWNER/NAME/FILE" -> content. commits: "OWNER/NAME" -> that of "main"; others are taken as they are."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.commits: dict[str, str] = {}
        self.faults = Faults()
        self.requests: list[Request] = []
        self.sent_bytes = 0
        self.may_end = threading.Event()
        self._servers = {name: _server(self, name) for name in ("hub", "storage", "elsewhere")}

    def __enter__(self) -> Hub:
        for server in self._servers.values():
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_exception) -> None:
        self.may_end.set()
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def address(self, name: str = "hub") -> str:
        return f"http://127.0.0.1:{self._servers[name].server_port}"

    def add(self, repository: str, name: str, content: bytes) -> bytes:
        self.files[f"{repository}/{name}"] = content
        return content

    def asked(self, method: str, server: str | None = None) -> list[Request]:
        return [request for request in self.requests
                if request.method == method and server in (None, request.server)]


def _server(hub: Hub, name: str) -> ThreadingHTTPServer:
    handler = type("Handler", (_Handler,), {"hub": hub, "name": name})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    return server


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    name: str

    def log_message(self, *_arguments) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path.lstrip("/")  # the whole address, if this server is asked as a proxy
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.requests.append(Request(self.name, self.command, self.path, headers))
        faults = self.hub.faults
        if faults.silent:
            self.hub.may_end.wait()
        elif self.command == "GET" and self._misbehaves(path):
            pass
        elif self.name == "storage":
            self._send(self.hub.files[path])
        elif self.name == "elsewhere":
            self._send(next(iter(self.hub.files.values())))
        elif faults.status:
            self._refuse(faults.status, faults.error_code)
        else:
            self._resolve(path)

    def _misbehaves(self, path: str) -> bool:
        faults = self.hub.faults
        if self.name in faults.sends_on:
            self._head(302, {"Location": faults.sends_on[self.name]})
            self._send_zeros()
        elif self.name == faults.refusing:
            self._head(404, {})
            self._send_zeros()
        elif self.name == faults.endless:
            self._head(200, {})
            self._send_zeros()
        elif self.name == faults.packed:
            self._send(gzip.compress(bytes(ENDLESS)), {"Content-Encoding": "gzip"})
        elif self.name == faults.junk:
            self._send(self.hub.files[path], {"Content-Range": "bytes from here to there"})
        else:
            return False
        return True

    def _send_zeros(self) -> None:
        for _ in range(ENDLESS // PIECE):
            try:
                self.wfile.write(bytes(PIECE))
            except OSError:
                return  # the caller is gone
            self.hub.sent_bytes += PIECE

    def _resolve(self, path: str) -> None:
        repository, _, rest = path.partition("/resolve/")
        revision, _, name = rest.partition("/")
        content = self.hub.files.get(f"{repository}/{name}")
        if content is None:
            self._refuse(404, "EntryNotFound")
            return
        faults = self.hub.faults
        commit = self.hub.commits.get(repository, COMMIT) if revision == "main" else revision
        headers = {} if faults.no_commit else {"X-Repo-Commit": faults.claimed_commit or commit}
        if faults.has_xet:
            headers |= {"X-Xet-Hash": "0" * 64, "X-Xet-Refresh-Route": f"{self.hub.address('elsewhere')}/xet"}
        if name.endswith(".json"):
            self._send(content, headers | {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'})
            return
        digest = faults.claimed_sha256 or hashlib.sha256(content).hexdigest()
        size = faults.claimed_size or len(content)
        headers |= {} if faults.no_size else {"X-Linked-Size": str(size)}
        self._head(302, headers | {"Location": f"{self.hub.address('storage')}/{repository}/{name}",
                                   "X-Linked-Etag": f'"{digest}"', "Content-Length": "0"})

    def _refuse(self, status: int, code: str) -> None:
        self._head(status, ({"X-Error-Code": code} if code else {}) | {"Content-Length": "0"})

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, content: bytes, headers: dict[str, str] | None = None) -> None:
        first = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if self.headers["Range"] else 0
        headers = dict(headers or {}) | {"Content-Length": str(len(content) - first)}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self._head(206 if first else 200, headers)
        if self.command == "GET":
            self._send_body(content[first:])

    def _send_body(self, content: bytes) -> None:
        faults = self.hub.faults
        is_large = self.name == "storage"
        cut = faults.cuts.pop(0) if is_large and faults.cuts else len(content)
        stall = faults.stalls_after if is_large and faults.stalls_after is not None else len(content)
        for start in range(0, min(cut, stall), PIECE):
            try:
                self.wfile.write(content[start:min(start + PIECE, cut, stall)])
            except OSError:
                return  # the caller is gone
            if is_large and faults.pause_s:
                time.sleep(faults.pause_s)
        if stall < len(content):
            self.hub.may_end.wait()
        self.close_connection = True


# --- What is asked of it, and what a download leaves ----------------------------------------------------------------

CARD = read_card("monst3r")
CONFIG = b"{}".ljust(453)
WEIGHTS = "model.safetensors"
SMALL = 200_000
LARGE = 25_000_000
"""More than twice what huggingface_hub hands on at a time."""


def end_of(process: subprocess.Popen) -> WeightsEvent:
    """Wait; its last event, which has to agree with its exit status."""
    output, errors = process.communicate(timeout=60)
    event = parse_line(output.splitlines()[-1])
    assert (process.returncode, event.kind) in ((0, "finished"), (1, "failed")), errors
    assert "Traceback" not in errors
    return event


def left_in(models: Path) -> set[str]:
    """Every file of the model, half ones included."""
    return {path.relative_to(models / CARD.folder).as_posix() for path in (models / CARD.folder).rglob("*")
            if path.is_file() and path.name != "lock"}


def partials(models: Path) -> list[Path]:
    return [path for path in (models / CARD.folder / records.PARTIAL_FOLDER).glob("*") if path.name != "lock"]
