"""A server of files on this machine that misbehaves as told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """What the server does, and what it was asked."""

    files: dict[str, bytes]
    ranges: bool = True
    """Whether `Range` is honoured; else every answer is the whole file."""
    cut_after: int | None = None
    """Bytes after which the connection is closed, `cuts` times per file."""
    cuts: int = 1
    refusals: list[int] = field(default_factory=list)
    """Status codes of the next answers, used up one by one."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range of every request."""
    done: dict[str, int] = field(default_factory=dict)


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """The base address while the server runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer(self, behaviour)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing: a test's output stays clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/pinned/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(request: BaseHTTPRequestHandler, behaviour: Behaviour) -> None:
    path = request.path.removeprefix("/pinned/")
    given = request.headers.get("Range")
    behaviour.asked.append((path, given))
    if behaviour.refusals:
        return refuse(request, behaviour.refusals.pop(0))
    if path not in behaviour.files:
        return refuse(request, 404)
    whole = behaviour.files[path]
    start = int(given.removeprefix("bytes=").rstrip("-")) if given and behaviour.ranges else 0
    if start >= len(whole):
        return refuse(request, 416)
    body = whole[start:]
    request.send_response(206 if start else 200)
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if behaviour.cut_after is not None and behaviour.done.get(path, 0) < behaviour.cuts:
        behaviour.done[path] = behaviour.done.get(path, 0) + 1
        request.wfile.write(body[: behaviour.cut_after])
        request.close_connection = True
        return None
    request.wfile.write(body)
    return None


def refuse(request: BaseHTTPRequestHandler, code: int) -> None:
    request.send_response(code)
    request.send_header("Content-Length", "0")
    request.end_headers()
