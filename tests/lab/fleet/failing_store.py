"""An object store that refuses some keys and breaks off while it sends others, as stores and networks do."""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

_DENIED = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'


@contextmanager
def failing_store(host: str, port: int) -> Iterator[str]:
    """Pass requests on to a store, but for those of some keys.

    Keys with ``denied`` are refused, of those with ``torn`` never more than half comes; ``flaky`` ones are torn once.

    Yields:
        Its address.
    """
    torn: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            return None

        def forward(self) -> None:
            if "denied" in self.path:
                self._answer(403, {}, b"" if self.command == "HEAD" else _DENIED)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            store = http.client.HTTPConnection(host, port)
            store.request(self.command, self.path, body, dict(self.headers))
            answer = store.getresponse()
            content, headers = answer.read(), dict(answer.getheaders())
            store.close()
            key = self.path.partition("?")[0]
            breaks = "torn" in key or ("flaky" in key and not torn[key])
            if self.command == "GET" and breaks and answer.status < 300:
                torn[key] += 1
                self._answer(answer.status, headers, content[: len(content) // 2], len(content))
                self.close_connection = True
                return
            length = int(headers.get("Content-Length", len(content)))
            self._answer(answer.status, headers, content, length)

        def _answer(self, status: int, headers: dict[str, str], content: bytes, length: int | None = None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content) if length is None else length))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
