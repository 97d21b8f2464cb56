"""Servers on the loopback that answer as a judging model does, or badly."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["Handler", int, dict[str, Any]], None]
"""Answers a request, of which the number and the body are given."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: JudgeServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append(body)
            self.server.seen.append((self.path, dict(self.headers)))
            self.server.open += 1
            self.server.most_open = max(self.server.most_open, self.server.open)
        try:
            self.server.behaviour(self, number, body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has gone
        finally:
            with self.server.lock:
                self.server.open -= 1

    def send(self, content: bytes, status: int = 200, *, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)
        if length is not None:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


class JudgeServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour, self.lock, self.stopped = behaviour, threading.Lock(), threading.Event()
        self.requests: list[dict[str, Any]] = []
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.open = self.most_open = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, *_: Any) -> None:
        pass  # a client that breaks off is part of the tests


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[JudgeServer]:
    """A server that answers so, for the body."""
    server = JudgeServer(behaviour)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


def completion(text: Any, finish_reason: str | None = "stop") -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}).encode()


def says(text: str | Callable[[str], str]) -> Behaviour:
    """A model that says the same of every reply, or what a function of the request makes of it."""

    def behaviour(handler: Handler, number: int, body: dict[str, Any]) -> None:
        asked = body["messages"][0]["content"]
        handler.send(completion(text if isinstance(text, str) else text(asked)))

    return behaviour


def slow(seconds: float) -> Behaviour:
    def behaviour(handler: Handler, number: int, body: dict[str, Any]) -> None:
        time.sleep(seconds)
        handler.send(completion("7"))

    return behaviour


def fails(handler: Handler, number: int, body: dict[str, Any]) -> None:
    handler.send(b'{"error": {"message": "out of memory"}}', 500)


def sends_half(handler: Handler, number: int, body: dict[str, Any]) -> None:
    """The answer ends before the length that was announced."""
    whole = completion("7")
    handler.send(whole[:40], length=len(whole))


def says_half(handler: Handler, number: int, body: dict[str, Any]) -> None:
    """The answer is as long as announced, and no whole JSON."""
    handler.send(completion("7")[:40])


def cut_off(handler: Handler, number: int, body: dict[str, Any]) -> None:
    """The model's answer is cut, before the score that it was about to give."""
    handler.send(completion("Of the 5 points", "length"))


def hangs(handler: Handler, number: int, body: dict[str, Any]) -> None:
    handler.server.stopped.wait(30)


def drips(handler: Handler, number: int, body: dict[str, Any]) -> None:
    """A byte at a time, each soon after the one before: no single wait is long."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    while not handler.server.stopped.wait(0.02):
        handler.wfile.write(b" ")
        handler.wfile.flush()
