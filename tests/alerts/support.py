"""What the tests of alerts share: a receiver on this machine that checks as DingTalk does, and events."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bmacdb.recorder.events import Notice, RunComplete, RunLate, Severity

FEED = "usdt_perp_1m"
T0 = 1_700_000_040_000
TOKEN = "f00dcafe0123456789"
SECRET = "SEC0a1b2c3d4e5f6071"


@dataclass
class Receiver:
    """Takes posts; with `secret` it checks them as DingTalk documents: base64 of the HMAC-SHA256 of "timestamp,
    newline, secret", keyed with the secret, percent-encoded once."""

    secret: str | None = None
    status: int = 200
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    refused: int = 0
    got: threading.Condition = field(default_factory=threading.Condition)

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, object]]:
        query = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        with self.got:
            self.got.notify_all()
            if self.status != 200:
                self.refused += 1
                return self.status, {}
            if self.secret is not None and not self._signed(query):
                self.refused += 1
                return 200, {"errcode": 310000, "errmsg": "sign not match"}
            self.bodies.append(json.loads(body))
            return 200, {"errcode": 0, "errmsg": "ok"}

    def _signed(self, query: dict[str, str]) -> bool:
        assert self.secret is not None
        text = f"{query.get('timestamp', '')}\n{self.secret}".encode()
        wanted = base64.b64encode(hmac.new(self.secret.encode(), text, hashlib.sha256).digest()).decode()
        return query.get("access_token") == TOKEN and query.get("sign") == wanted

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until `condition` holds; the test's own time limit ends a wait in vain."""
        with self.got:
            self.got.wait_for(condition)


@contextmanager
def receiving(secret: str | None = None, status: int = 200) -> Iterator[Receiver]:
    receiver = Receiver(secret, status)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            code, answer = receiver.answer(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            data = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def notice(
    topic: str, text: str, severity: Severity = Severity.WARNING, *, at_ms: int = T0, feed: str = FEED
) -> Notice:
    return Notice(at_ms, severity, topic, text, FEED)


def late(run: int = 0, *missing: str) -> RunLate:
    """The run time `run` minutes after T0 passes its deadline."""
    return RunLate(T0 + run * 60_000 + 40_000, FEED, T0 + run * 60_000, 540, missing or ("BTCUSDT",))


def complete(run: int = 0, late_ms: int = 400) -> RunComplete:
    run_time_ms = T0 + run * 60_000
    at_ms = run_time_ms + late_ms
    return RunComplete(at_ms, FEED, run_time_ms, 540, 0, "BTCUSDT", at_ms, late_ms)
