"""A small Hub on loopback: the HTTP API that ``huggingface_hub`` and ``datasets`` use, in memory.

Every byte that arrives is recorded, and faults can be switched on. Files above a size, and those of
binary formats, go over LFS; all others travel inside the commit.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

TOKEN = "hf_the-token-of-the-tests"  # noqa: S105 - of no real account
_BINARY = re.compile(r"\.(jpe?g|png|gif|webp|bmp|tiff?|parquet|tar|arrow|npy)$")


@dataclass
class Fault:
    """What goes wrong with requests that match.

    Args:
        method: HTTP method.
        path: regular expression that is searched in the path.
        times: how many requests it hits.
        skip: how many matching requests pass first.
        status: answer with this status; 0 for none.
        headers: of that answer.
        message: of that answer.
        cut: hang up: ``before`` reading the body, ``within`` it, ``after`` doing what was asked,
            or ``halfway`` through the answer.
        corrupt: change a byte of what is downloaded.
        endless: send the answer again and again, without an end.
    """

    method: str
    path: str
    times: int = 1
    skip: int = 0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    message: str = ""
    cut: str = ""
    corrupt: bool = False
    endless: bool = False

    def hits(self, method: str, path: str) -> bool:
        if self.method != method or not re.search(self.path, path) or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Commit:
    oid: str
    title: str
    author: str
    tree: dict[str, str]
    """Digest of each file's content by path."""
    added: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()


@dataclass
class Repo:
    private: bool
    commits: list[Commit]
    gated: Any = False
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> Commit:
        return self.commits[-1]


class Hub:
    """The state of the server; tests read and change it directly."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.organizations = {"team": "admin", "readers": "read"}
        self.bodies: list[bytes] = []
        self.requests: list[tuple[str, str]] = []
        self.tokens: list[tuple[str, str]] = []
        """Host and token of every request that had one."""
        self.sent = 0
        """Bytes of endless answers."""
        self.uploads: Counter[str] = Counter()
        self.lfs_above = 10_000
        self.can_write = True
        self.delay = 0.0
        self.url = ""
        self.transports: dict[tuple[str, int], asyncio.Transport] = {}
        self.lock = threading.Lock()

    # What tests ask.

    def received(self) -> bytes:
        """Every byte that arrived, bodies as they were and what was base64 in them decoded."""
        return b"\n".join(self.bodies)

    def tree(self, repo_id: str) -> dict[str, bytes]:
        """Every file of a repository's head."""
        return {path: self.blobs[oid] for path, oid in self.repos[repo_id].head.tree.items()}

    def commit(self, repo_id: str, files: dict[str, bytes], author: str = "somebody else") -> str:
        """Commit as another client would."""
        repo = self.repos[repo_id]
        tree = dict(repo.head.tree)
        for path, data in files.items():
            tree[path] = self.keep(data)
        return self.add_commit(repo, f"by {author}", tree, author, tuple(files))

    def create(self, repo_id: str, private: bool = True) -> Repo:
        repo = Repo(private, [])
        attributes = self.keep(b"*.parquet filter=lfs diff=lfs merge=lfs -text\n")
        self.add_commit(repo, "initial commit", {".gitattributes": attributes}, "hub")
        self.repos[repo_id] = repo
        return repo

    # How it is done.

    def keep(self, data: bytes) -> str:
        oid = hashlib.sha256(data).hexdigest()
        self.blobs[oid] = data
        return oid

    def add_commit(
        self,
        repo: Repo,
        title: str,
        tree: dict[str, str],
        author: str,
        added: tuple[str, ...] = (),
        deleted: tuple[str, ...] = (),
    ) -> str:
        seed = f"{len(repo.commits)} {title} {sorted(tree.items())} {time.monotonic_ns()}"
        oid = hashlib.sha1(seed.encode(), usedforsecurity=False).hexdigest()
        repo.commits.append(Commit(oid, title, author, tree, added, deleted))
        return oid

    def find(self, repo_id: str, revision: str) -> Commit | None:
        repo = self.repos[repo_id]
        if revision in ("main", "HEAD", "refs/heads/main"):
            return repo.head
        revision = repo.tags.get(revision.removeprefix("refs/tags/"), revision)
        return next((commit for commit in repo.commits if commit.oid == revision), None)

    def is_lfs(self, path: str, data: bytes) -> bool:
        return bool(_BINARY.search(path)) or len(data) > self.lfs_above


def _git_oid(data: bytes) -> str:
    head = f"blob {len(data)}\0".encode()
    return hashlib.sha1(head + data, usedforsecurity=False).hexdigest()


def _error(status: int, code: str = "", message: str = "") -> Response:
    headers = {"X-Error-Code": code} if code else {}
    headers |= {"X-Error-Message": message} if message else {}
    return JSONResponse({"error": message or code or "error"}, status, headers)


class Api:
    """The ASGI application."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await Starlette()(scope, receive, send)
            return
        request = Request(scope, receive)
        path = request.url.path
        self.hub.requests.append((request.method, path))
        if "authorization" in request.headers:
            self.hub.tokens.append((request.headers["host"], request.headers["authorization"]))
        fault = next((one for one in self.hub.faults if one.hits(request.method, path)), None)
        if fault and fault.cut in ("before", "within"):
            if fault.cut == "within":
                self.hub.bodies.append(await _first_piece(receive))
            self._hang_up(scope)
            return
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        self._record(body)
        if self.hub.delay:
            await asyncio.sleep(self.hub.delay)
        if fault and fault.status:
            headers = {**fault.headers, "X-Error-Message": fault.message}
            answer: Response = JSONResponse({"error": fault.message}, fault.status, headers)
        else:
            with self.hub.lock:
                answer = self._route(request, body)
        if fault and fault.cut == "after":
            self._hang_up(scope)
            return
        if fault and fault.corrupt and isinstance(answer.body, bytes) and answer.body:
            answer.body = answer.body[:-1] + bytes([answer.body[-1] ^ 1])
        if fault and (fault.endless or fault.cut == "halfway"):
            await self._send_badly(answer, fault.endless, scope, send)
            return
        await answer(scope, receive, send)

    async def _send_badly(self, answer: Response, endless: bool, scope: Scope, send: Send) -> None:
        """Half of an answer and no more, or the answer again and again."""
        headers = [
            pair for pair in answer.raw_headers if not endless or pair[0] != b"content-length"
        ]
        await send(
            {"type": "http.response.start", "status": answer.status_code, "headers": headers}
        )
        data = bytes(answer.body)
        if endless:
            data *= 1 + (1 << 16) // len(data)
        transport = self.hub.transports.get(tuple(scope["client"]))
        while endless and self.hub.sent < 1 << 26 and transport and not transport.is_closing():
            self.hub.sent += len(data)
            await send({"type": "http.response.body", "body": data, "more_body": True})
            await asyncio.sleep(0)
        if not endless:
            half = {"type": "http.response.body", "body": data[: len(data) // 2], "more_body": True}
            await send(half)
            await asyncio.sleep(0.05)
        self._hang_up(scope)

    def _hang_up(self, scope: Scope) -> None:
        transport = self.hub.transports.get(tuple(scope["client"]))
        if transport is not None:
            transport.abort()

    def _record(self, body: bytes) -> None:
        self.hub.bodies.append(body)
        for line in body.splitlines() if body[:1] == b"{" else ():
            for text in re.findall(rb'"(?:sample|content)": ?"([A-Za-z0-9+/=]*)"', line):
                self.hub.bodies.append(base64.b64decode(text))

    def _route(self, request: Request, body: bytes) -> Response:
        method, path = request.method, request.url.path
        if path.startswith("/lfs/"):
            return self._lfs_object(path.removeprefix("/lfs/"), body)
        allowed = request.headers.get("authorization") == f"Bearer {TOKEN}"
        for pattern, handler, needs_token in _ROUTES:
            found = re.fullmatch(pattern, f"{method} {path}")
            if not found:
                continue
            if needs_token and not allowed:
                return _error(401, message="Invalid credentials in Authorization header")
            names = found.groupdict()
            if "id" in names:
                repo = self.hub.repos.get(names["id"])
                if repo is None or (repo.private and not allowed):
                    return _error(404, "RepoNotFound", "Repository not found")
                if repo.gated and not allowed:
                    return _error(403, "GatedRepo", "Access to this dataset is restricted")
                if needs_token and method != "GET" and not self._can_write(names["id"]):
                    return _error(403, message="You don't have the rights to write here")
            answer: Response = getattr(self, handler)(request, body, **names)
            return answer
        return _error(404, message=f"the test Hub has no {method} {path}")

    def _can_write(self, repo_id: str) -> bool:
        owner = repo_id.partition("/")[0]
        role = "admin" if owner == "somebody" else self.hub.organizations.get(owner)
        return self.hub.can_write and role in ("admin", "write")

    # Accounts and repositories.

    def whoami(self, request: Request, body: bytes) -> Response:
        organizations = [
            {"name": name, "type": "org", "roleInOrg": role}
            for name, role in self.hub.organizations.items()
        ]
        role = "write" if self.hub.can_write else "read"
        token = {"type": "access_token", "accessToken": {"role": role, "displayName": "tests"}}
        return JSONResponse(
            {"type": "user", "name": "somebody", "orgs": organizations, "auth": token}
        )

    def create(self, request: Request, body: bytes) -> Response:
        wanted = json.loads(body)
        owner = wanted.get("organization") or "somebody"
        repo_id = f"{owner}/{wanted['name']}"
        if owner != "somebody" and owner not in self.hub.organizations:
            return _error(404, message=f"Organization {owner} not found")
        if not self._can_write(repo_id):
            return _error(403, message="You don't have the rights to create a dataset here")
        if repo_id in self.hub.repos:
            url = f"{self.hub.url}/datasets/{repo_id}"
            return JSONResponse({"error": "You already created this dataset repo", "url": url}, 409)
        self.hub.create(repo_id, wanted.get("visibility") == "private" or wanted.get("private"))
        return JSONResponse({"url": f"{self.hub.url}/datasets/{repo_id}", "name": repo_id})

    def validate_yaml(self, request: Request, body: bytes) -> Response:
        return JSONResponse({"errors": [], "warnings": []})

    def auth_check(self, request: Request, body: bytes, id: str) -> Response:  # noqa: A002
        if request.url.path.endswith("/write") and not self._can_write(id):
            return _error(403, message="You don't have the rights to write here")
        return JSONResponse({})

    def settings(self, request: Request, body: bytes, id: str) -> Response:  # noqa: A002
        wanted, repo = json.loads(body), self.hub.repos[id]
        repo.gated = wanted.get("gated", repo.gated)
        if "visibility" in wanted or "private" in wanted:
            repo.private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        return JSONResponse({})

    def info(self, request: Request, body: bytes, id: str, rev: str | None = None) -> Response:  # noqa: A002
        commit = self.hub.find(id, rev or "main")
        if commit is None:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        repo = self.hub.repos[id]
        return JSONResponse(
            {
                "_id": "0" * 24,
                "id": id,
                "sha": commit.oid,
                "private": repo.private,
                "gated": repo.gated,
                "tags": [],
                "downloads": 0,
                "siblings": [{"rfilename": path} for path in sorted(commit.tree)],
            }
        )

    def refs(self, request: Request, body: bytes, id: str) -> Response:  # noqa: A002
        repo = self.hub.repos[id]
        tags = [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid}
            for name, oid in repo.tags.items()
        ]
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.head.oid}
        return JSONResponse({"branches": [main], "tags": tags, "converts": []})

    def tag(self, request: Request, body: bytes, id: str, rev: str) -> Response:  # noqa: A002
        name, commit = json.loads(body)["tag"], self.hub.find(id, rev)
        if commit is None:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        if name in self.hub.repos[id].tags:
            return _error(409, message="Tag reference exists already")
        self.hub.repos[id].tags[name] = commit.oid
        return JSONResponse({})

    def untag(self, request: Request, body: bytes, id: str, rev: str) -> Response:  # noqa: A002
        if self.hub.repos[id].tags.pop(rev, None) is None:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        return JSONResponse({})

    def commits(self, request: Request, body: bytes, id: str, rev: str) -> Response:  # noqa: A002
        found = [
            {
                "id": commit.oid,
                "title": commit.title,
                "message": "",
                "authors": [{"user": commit.author}],
                "date": "2026-01-01T00:00:00.000Z",
            }
            for commit in reversed(self.hub.repos[id].commits)
        ]
        return JSONResponse(found)

    # Trees.

    def tree(
        self,
        request: Request,
        body: bytes,
        id: str,  # noqa: A002
        rev: str,
        path: str | None = None,
    ) -> Response:
        commit = self.hub.find(id, rev)
        if commit is None:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        prefix = f"{path}/" if path else ""
        inside = [name for name in sorted(commit.tree) if name.startswith(prefix)]
        if prefix and not inside:
            return _error(404, "EntryNotFound", f"{path} does not exist")
        if request.query_params.get("recursive", "").lower() in ("true", "1"):
            names = set(inside)
            for name in inside:
                parts = name[len(prefix) :].split("/")[:-1]
                names |= {prefix + "/".join(parts[: n + 1]) for n in range(len(parts))}
        else:
            names = {prefix + name[len(prefix) :].split("/")[0] for name in inside}
        page = 500
        rows = [self._entry(commit, name) for name in sorted(names)]
        start = int(request.query_params.get("cursor", 0))
        headers = {}
        if len(rows) > start + page:
            following = request.url.include_query_params(cursor=start + page)
            headers["Link"] = f'<{self.hub.url}{following.path}?{following.query}>; rel="next"'
        return JSONResponse(rows[start : start + page], headers=headers)

    def _entry(self, commit: Commit, name: str) -> dict[str, Any]:
        if name not in commit.tree:
            return {"type": "directory", "oid": _git_oid(name.encode()), "size": 0, "path": name}
        data = self.hub.blobs[commit.tree[name]]
        entry: dict[str, Any] = {"type": "file", "size": len(data), "path": name}
        entry["oid"] = _git_oid(data)
        if self.hub.is_lfs(name, data):
            entry["lfs"] = {"oid": commit.tree[name], "size": len(data), "pointerSize": 130}
        return entry

    def paths_info(self, request: Request, body: bytes, id: str, rev: str) -> Response:  # noqa: A002
        from urllib.parse import parse_qs

        commit = self.hub.find(id, rev)
        if commit is None:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        wanted = json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode())["paths"]
        folders = {"/".join(name.split("/")[:n]) for name in commit.tree for n in range(1, 20)}
        found = [name for name in wanted if name in commit.tree or name in folders]
        return JSONResponse([self._entry(commit, name) for name in found])

    # Writing.

    def preupload(self, request: Request, body: bytes, id: str, rev: str) -> Response:  # noqa: A002
        head, answers = self.hub.repos[id].head, []
        for file in json.loads(body)["files"]:
            is_lfs = bool(_BINARY.search(file["path"])) or file["size"] > self.hub.lfs_above
            oid = head.tree.get(file["path"])
            known = oid if is_lfs or oid is None else _git_oid(self.hub.blobs[oid])
            mode = "lfs" if is_lfs else "regular"
            answers.append(
                {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": known}
            )
        return JSONResponse({"files": answers, "commitOid": head.oid})

    def lfs_batch(self, request: Request, body: bytes, id: str) -> Response:  # noqa: A002
        objects = []
        for one in json.loads(body)["objects"]:
            answer: dict[str, Any] = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.blobs:
                answer["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}
            objects.append(answer)
        return JSONResponse({"transfer": "basic", "objects": objects})

    def _lfs_object(self, oid: str, body: bytes) -> Response:
        if hashlib.sha256(body).hexdigest() != oid:
            return _error(400, message="the content is not that of its digest")
        self.hub.uploads[oid] += 1
        self.hub.keep(body)
        return Response(status_code=200)

    def add(self, request: Request, body: bytes, id: str, rev: str) -> Response:  # noqa: A002
        repo = self.hub.repos[id]
        lines = [json.loads(line) for line in body.splitlines()]
        header = lines[0]["value"]
        parent = header.get("parentCommit")
        if parent is not None and parent != repo.head.oid:
            return _error(412, message="A commit has happened since. Please refresh and try again.")
        tree, added, deleted = dict(repo.head.tree), [], []
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                tree[value["path"]] = self.hub.keep(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.blobs:
                    return _error(400, message=f"no LFS object {value['oid']}")
                tree[value["path"]] = value["oid"]
            elif line["key"] == "deletedFile":
                if tree.pop(value["path"], None) is None:
                    return _error(404, "EntryNotFound", "A file with this name doesn't exist")
                deleted.append(value["path"])
                continue
            else:
                return _error(400, message=f"unknown operation {line['key']}")
            added.append(value["path"])
        oid = self.hub.add_commit(
            repo, header["summary"], tree, "somebody", tuple(added), tuple(deleted)
        )
        url = f"{self.hub.url}/datasets/{id}/commit/{oid}"
        return JSONResponse({"success": True, "commitOid": oid, "commitUrl": url})

    # Reading.

    def resolve(
        self,
        request: Request,
        body: bytes,
        id: str,  # noqa: A002
        rev: str,
        path: str,
    ) -> Response:
        commit = self.hub.find(id, rev)
        if commit is None:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        if path not in commit.tree:
            answer = _error(404, "EntryNotFound", f"{path} does not exist")
            answer.headers["X-Repo-Commit"] = commit.oid
            return answer
        data = self.hub.blobs[commit.tree[path]]
        is_lfs = self.hub.is_lfs(path, data)
        etag = commit.tree[path] if is_lfs else _git_oid(data)
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if is_lfs:
            headers |= {"X-Linked-Size": str(len(data)), "X-Linked-ETag": f'"{etag}"'}
        status, part = 200, data
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", "")):
            start, end = int(found[1]), int(found[2] or len(data) - 1)
            part, status = data[start : end + 1], 206
            headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
        if request.method == "HEAD":
            headers["Content-Length"] = str(len(data))
            return Response(b"", 200, headers)
        return Response(part, status, headers, "application/octet-stream")


_ID = r"(?P<id>[^/]+/[^/]+?)"
_ROUTES = (
    (r"GET /api/whoami-v2", "whoami", True),
    (r"POST /api/repos/create", "create", True),
    (r"POST /api/validate-yaml", "validate_yaml", False),
    (rf"GET /api/datasets/{_ID}/auth-check(/write)?", "auth_check", True),
    (rf"PUT /api/datasets/{_ID}/settings", "settings", True),
    (rf"GET /api/datasets/{_ID}", "info", False),
    (rf"GET /api/datasets/{_ID}/revision/(?P<rev>[^/]+)", "info", False),
    (rf"GET /api/datasets/{_ID}/refs", "refs", False),
    (rf"POST /api/datasets/{_ID}/tag/(?P<rev>[^/]+)", "tag", True),
    (rf"DELETE /api/datasets/{_ID}/tag/(?P<rev>[^/]+)", "untag", True),
    (rf"GET /api/datasets/{_ID}/commits/(?P<rev>[^/]+)", "commits", False),
    (rf"GET /api/datasets/{_ID}/tree/(?P<rev>[^/]+)(/(?P<path>.+))?", "tree", False),
    (rf"POST /api/datasets/{_ID}/paths-info/(?P<rev>[^/]+)", "paths_info", False),
    (rf"POST /api/datasets/{_ID}/preupload/(?P<rev>[^/]+)", "preupload", True),
    (rf"POST /api/datasets/{_ID}/commit/(?P<rev>[^/]+)", "add", True),
    (rf"POST /datasets/{_ID}\.git/info/lfs/objects/batch", "lfs_batch", True),
    (rf"(GET|HEAD) /datasets/{_ID}/resolve/(?P<rev>[^/]+)/(?P<path>.+)", "resolve", False),
)


async def _first_piece(receive: Receive) -> bytes:
    message: Message = await receive()
    return bytes(message.get("body", b""))


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A Hub that listens on a free port until the block ends."""
    hub = Hub()

    class Protocol(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if self.client:
                hub.transports[self.client] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            if self.client:
                hub.transports.pop(self.client, None)
            super().connection_lost(exc)

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    hub.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        Api(hub),
        http=Protocol,
        log_level="critical",
        lifespan="off",
        ws="none",
        timeout_keep_alive=600,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield hub
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()
