"""A small S3 server over a folder: buckets are folders, keys are paths in them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape


class S3Server(ThreadingHTTPServer):
    """Serves a folder; ``lives`` is how many objects it gives before it hangs up, if a number.

    ``writable`` allows changes; ``drops`` is how many answers there are from one dropped
    connection to the next, if a number; ``written`` are the keys in the order of their first
    writing.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root, self.lives, self.page = root, -1, 1000
        self.denied: frozenset[str] = frozenset()
        self.writable, self.drops, self.requests = False, 0, 0
        self.written: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: S3Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            data = _join_chunks(data)
        path = unquote(urlsplit(self.path).path).strip("/")
        if self._is_dropped():
            return
        if not self.server.writable or path in self.server.denied:
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
            return
        file = self.server.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.{threading.get_ident()}")
        partial.write_bytes(data)
        partial.replace(file)
        if path not in self.server.written:
            self.server.written.append(path)
        self._answer(200)

    def do_POST(self) -> None:
        """Delete several objects."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        bucket = unquote(urlsplit(self.path).path).strip("/")
        if self._is_dropped():
            return
        for key in re.findall(r"<Key>(.*?)</Key>", body):
            self._remove(self.server.root / bucket / unescape(key))
        self._answer(200, b"<DeleteResult></DeleteResult>", "application/xml")

    def do_DELETE(self) -> None:
        if not self._is_dropped():
            path = unquote(urlsplit(self.path).path).strip("/")
            self._remove(self.server.root / path)
            self._answer(204)

    def _remove(self, file: Path) -> None:
        """Remove an object, and the folders of the disk that only it was in."""
        if file.is_dir():
            return  # there are no folders among the keys
        file.unlink(missing_ok=True)
        for folder in list(file.parents)[: -len(self.server.root.parents) - 2]:
            with suppress(OSError):
                folder.rmdir()

    def _is_dropped(self) -> bool:
        """Hang up without an answer, now and then."""
        self.server.requests += 1
        if not self.server.drops or self.server.requests % self.server.drops:
            return False
        self.close_connection = True
        return True

    def do_GET(self) -> None:
        if self._is_dropped():
            return
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
                head, slash, rest = key[len(prefix) :].partition("/")
                if "delimiter" not in query:
                    head, slash = head + slash + rest, ""
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
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def _join_chunks(data: bytes) -> bytes:
    """The content of a body that was sent in chunks with their sizes."""
    parts = []
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if not length:
            break
        parts.append(rest[:length])
        data = rest[length + 2 :]
    return b"".join(parts)


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
