"""The web server of a review: this machine only, one secret token, nothing that is stored.

Starlette and uvicorn are imported here alone; they come with the extra ``review``.
"""

from __future__ import annotations

import hmac
import json
import socket
import threading
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from curate.core.errors import CurateError, DataError, SetupError
from curate.review.live import SHEET, ChangedImageError, ConflictError, LiveReview

HOST = "127.0.0.1"
_HOSTS = [HOST, "localhost"]
_BODY = 1_000_000  # bytes of a request
_STATIC = {
    "review.css": "text/css",
    "review.js": "text/javascript",
    "stage.js": "text/javascript",
    "sheet.js": "text/javascript",
    "client.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_HEADERS = [
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
Handler = Callable[[Request], Awaitable[Response]]


def build_app(review: LiveReview, token: str) -> ASGIApp:
    """The application.

    Args:
        review: what answers.
        token: what every request but those for the page's own files must show.
    """
    routes = [
        Route("/", _page(token)),
        *(Route(f"/{name}", _static(name, kind)) for name, kind in _STATIC.items()),
        Route("/api/status", _call(_status, review, token)),
        Route("/api/next", _call(_next, review, token)),
        Route("/api/view/{number:int}", _call(_view, review, token)),
        Route("/api/frame/{number:int}/{frame:int}", _call(_frame, review, token)),
        Route("/api/thumbnail/{number:int}", _call(_thumbnail, review, token)),
        Route("/api/release", _call(_release, review, token), methods=["POST"]),
        Route("/api/decide/{number:int}", _call(_decide, review, token), methods=["POST"]),
        Route("/api/withdraw/{number:int}", _call(_withdraw, review, token), methods=["POST"]),
    ]
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(_AddHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS, www_redirect=False),
            Middleware(_SameOrigin),
        ],
    )


def open_socket(port: int) -> socket.socket:
    """A socket on this machine only.

    Args:
        port: the port; 0 for any that is free.

    Raises:
        SetupError: if the port is in use or not allowed.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise SetupError(
            f"port {port} cannot be used ({error.strerror}); choose another with --port, or "
            "leave it out for any free one"
        ) from None
    return listener


def serve(app: ASGIApp, listener: socket.socket, stop: threading.Event | None = None) -> None:
    """Serve until Ctrl-C, or until ``stop`` is set.

    Args:
        app: from ``build_app``.
        listener: from ``open_socket``.
        stop: ends the server from another thread.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="error", access_log=False, lifespan="off", server_header=False,
            ws="none", timeout_graceful_shutdown=2,
        )
    )  # fmt: skip
    ended = threading.Event()

    def watch() -> None:
        while stop is not None and not ended.is_set():
            if stop.wait(0.1):
                server.should_exit = True
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    finally:
        ended.set()
        watcher.join()
        listener.close()


class _AddHeaders:
    """Adds the headers of every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        await self.app(scope, receive, send_with if scope["type"] == "http" else send)


class _SameOrigin:
    """Refuses requests that another site's page makes in the user's browser."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_same_origin(Request(scope)):
            answer = _say(403, "this request comes from another site; it was refused")
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _is_same_origin(request: Request) -> bool:
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    site = request.headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none"):
        return False
    return origin is None or origin == f"http://{host}"


def _call(
    work: Callable[[LiveReview, Request, Any], Response], review: LiveReview, token: str
) -> Handler:
    """An endpoint that checks the token, and whose errors are one line of JSON."""

    async def answer(request: Request) -> Response:
        if not _is_equal(request.headers.get("x-curate-token", ""), token):
            return _say(403, "the token is wrong; open the address that curate review printed")
        try:
            body = await _read(request) if request.method == "POST" else None
            return await run_in_threadpool(work, review, request, body)
        except ConflictError as error:
            return _say(412, str(error))
        except ChangedImageError as error:
            return _say(409, str(error))
        except DataError as error:
            return _say(422, str(error))
        except CurateError as error:
            return _say(500, str(error))

    return answer


async def _read(request: Request) -> dict[str, Any]:
    data = b""
    try:
        async for chunk in request.stream():
            data += chunk
            if len(data) > _BODY:
                raise DataError(f"a request is longer than {_BODY:,} bytes")
    except ClientDisconnect:
        raise DataError("the request ended early; nothing was saved") from None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DataError("a request is not a JSON object")
    return value


def _status(review: LiveReview, request: Request, _: Any) -> Response:
    return JSONResponse(review.describe(_reviewer(review, request)))


def _next(review: LiveReview, request: Request, _: Any) -> Response:
    page = (_reviewer(review, request), request.query_params.get("client", "")[:64])
    confident = request.query_params.get("sheet") == "1"
    held = _numbers(request.query_params.get("held", ""))
    count = _numbers(request.query_params.get("count", "")) or [SHEET]
    return JSONResponse({"images": review.assign(page, count[0], held, confident)})


def _release(review: LiveReview, request: Request, body: Any) -> Response:
    review.release(str(body.get("client", ""))[:64])
    return JSONResponse({})


def _view(review: LiveReview, request: Request, _: Any) -> Response:
    """Four bytes with the length of a JSON text, the text, and the first frame as JPEG."""
    known, jpeg = review.show(request.path_params["number"], _reviewer(review, request))
    text = json.dumps(known).encode()
    body = len(text).to_bytes(4, "big") + text + jpeg
    return Response(body, media_type="application/octet-stream")


def _frame(review: LiveReview, request: Request, _: Any) -> Response:
    number, frame = request.path_params["number"], request.path_params["frame"]
    full = request.query_params.get("full") == "1"
    return Response(review.show_frame(number, frame, full), media_type="image/jpeg")


def _thumbnail(review: LiveReview, request: Request, _: Any) -> Response:
    return Response(review.show_thumbnail(request.path_params["number"]), media_type="image/jpeg")


def _decide(review: LiveReview, request: Request, body: Any) -> Response:
    reviewer = _reviewer(review, request)
    saved = review.decide(request.path_params["number"], reviewer, body)
    return JSONResponse({**saved, "status": review.describe(reviewer)})


def _withdraw(review: LiveReview, request: Request, body: Any) -> Response:
    reviewer = _reviewer(review, request)
    saved = review.withdraw(request.path_params["number"], reviewer, body.get("etag"))
    return JSONResponse({**saved, "status": review.describe(reviewer)})


def _reviewer(review: LiveReview, request: Request) -> str:
    name = request.query_params.get("reviewer", "").strip()[:80]
    return name if name.isprintable() and name else review.setting.reviewer


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")[:64] if part.isdecimal() and len(part) < 16]


def _page(token: str) -> Handler:
    async def answer(request: Request) -> Response:
        if not _is_equal(request.query_params.get("token", ""), token):
            return PlainTextResponse(
                "The token is wrong; open the address that curate review printed.\n", 403
            )
        return Response(_load("index.html"), media_type="text/html; charset=utf-8")

    return answer


def _is_equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _static(name: str, kind: str) -> Handler:
    async def answer(request: Request) -> Response:
        return Response(_load(name), media_type=f"{kind}; charset=utf-8")

    return answer


def _load(name: str) -> bytes:
    return (files("curate.review") / "static" / name).read_bytes()


def _say(status: int, line: str) -> Response:
    return JSONResponse({"error": line}, status)
