"""A small S3 server over a folder, for reading: buckets are folders, keys are paths in them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class S3Server(ThreadingHTTPServer):
    """Serves a folder; ``lives`` is how many objects it gives before it hangs up, if a number."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root, self.lives, self.page = root, -1, 1000
        self.denied: frozenset[str] = frozenset()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: S3Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, query = unquote(parts.path).strip("/"), parse_qs(parts.query)
        file = self.server.root / path
        if "list-type" in query:
            self._answer(200, self._list(file, query), "application/xml")
        elif path in self.server.denied or "*" in self.server.denied:
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif "/" not in path or not file.is_file():
            self._answer(200 if file.is_dir() and "/" not in path else 404)
        elif self.command == "GET" and self.server.lives == 0:
            self.close_connection = True
        else:
            self.server.lives -= self.command == "GET"
            self._give(file.read_bytes())

    def _give(self, data: bytes) -> None:
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1 if last else None]
        self._answer(206 if "Range" in self.headers else 200, part)

    def _list(self, bucket: Path, query: dict[str, list[str]]) -> bytes:
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", [""])[0]
        keys = sorted(p.relative_to(bucket).as_posix() for p in bucket.rglob("*") if p.is_file())
        found = {}
        for key in keys:
            if key.startswith(prefix):
                head, slash, _ = key[len(prefix) :].partition("/")
                found[prefix + head + slash] = bucket / key
        names = [name for name in sorted(found) if name > after]
        page = names[: self.server.page]
        lines = [_describe(name, found[name]) for name in page]
        if len(page) < len(names):
            lines.append(f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>")
        more = str(len(page) < len(names)).lower()
        lines.append(f"<KeyCount>{len(page)}</KeyCount><IsTruncated>{more}</IsTruncated>")
        return f"<ListBucketResult>{''.join(lines)}</ListBucketResult>".encode()

    def _answer(self, code: int, body: bytes = b"", kind: str = "binary/octet-stream") -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", kind)
        self.send_header("Last-Modified", formatdate(0, usegmt=True))
        self.send_header("ETag", '"0"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def _describe(name: str, file: Path) -> str:
    if name.endswith("/"):
        return f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
    size = file.stat().st_size
    facts = "<LastModified>1970-01-01T00:00:00.000Z</LastModified><ETag>&quot;0&quot;</ETag>"
    return f"<Contents><Key>{escape(name)}</Key>{facts}<Size>{size}</Size></Contents>"


@contextmanager
def serve(root: Path) -> Iterator[S3Server]:
    """Serve a folder while the context lasts."""
    with S3Server(root) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
