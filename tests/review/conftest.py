"""A small dataset under review, and a server in this process or in its own."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from curate.review.run import ReviewOptions, start_review

pytest.importorskip("starlette", reason="the extra review is not installed")
pytest.importorskip("uvicorn", reason="the extra review is not installed")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Six images of 120×80 with a bright square each at (30, 20, 60, 50), and their boxes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(6):
        pixels = np.full((80, 120, 3), 40 + 10 * index, np.uint8)
        pixels[20:50, 30:60] = 220
        Image.fromarray(pixels).save(folder / f"{index}.png")
    lines = [
        {
            "file": f"{index}.png",
            "faces": [{"xyxy": [30, 20, 60, 50], "confidence": 0.95 - index / 10}],
        }
        for index in range(6)
    ]
    (tmp_path / "faces.json").write_text(json.dumps(lines))
    return folder


@dataclass
class Served:
    """A running server and how to talk to it."""

    address: str
    lines: list[str] = field(default_factory=list)
    state: Any = None

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.address).query)["token"][0]

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, content (JSON read) and headers of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
        sent = {"X-Curate-Token": self.token} | {k.replace("_", "-"): v for k, v in headers.items()}
        data = json.dumps(body) if isinstance(body, (dict, list)) else body
        connection.request(method, path, data, sent)
        answer = connection.getresponse()
        content, kind = answer.read(), answer.headers.get_content_type()
        connection.close()
        said = json.loads(content) if kind == "application/json" else content
        return answer.status, said, {k.lower(): v for k, v in answer.getheaders()}

    def view(self, number: int, reviewer: str = "") -> dict[str, Any]:
        status, data, _ = self.ask("GET", f"/api/view/{number}?reviewer={reviewer}")
        assert status == 200, data
        length = int.from_bytes(data[:4], "big")
        return json.loads(data[4 : 4 + length])

    def decide(
        self, number: int, faces: list[dict[str, Any]] | None = None, reviewer: str = ""
    ) -> tuple[int, Any]:
        """Accept every box of an image, or send other ones."""
        known = self.view(number, reviewer)
        if faces is None:
            faces = [{"state": "kept", "origin": box["origin"]} for box in known["boxes"]]
        body = {"etag": known["etag"], "sha256": known["sha256"], "faces": faces, "seconds": 1.5}
        status, said, _ = self.ask("POST", f"/api/decide/{number}?reviewer={reviewer}", body)
        return status, said


Serve = Callable[..., "Served"]


@pytest.fixture
def serve(dataset: Path) -> Iterator[Serve]:
    """Start servers in this process; `served.state` is there once they have stopped."""
    running: list[tuple[threading.Event, threading.Thread]] = []

    def start(source: Path | None = dataset, **options: Any) -> Served:
        if source == dataset and "run" not in options:
            options.setdefault("faces", dataset.parent / "faces.json")
        lines: list[str] = []
        stop = threading.Event()
        served = Served("", lines)

        def work() -> None:
            try:
                served.state = start_review(
                    source, ReviewOptions(reviewer="ada", **options), lines.append, False, stop
                )
            except Exception as error:  # shown by the caller
                served.state = error

        thread = threading.Thread(target=work)
        thread.start()
        while not served.address and thread.is_alive():
            thread.join(0.02)
            served.address = next((line for line in lines if line.startswith("http")), "")
        if not served.address:
            raise served.state
        running.append((stop, thread))
        served.stop = lambda: (stop.set(), thread.join())  # type: ignore[attr-defined]
        return served

    yield start
    for stop, thread in running:
        stop.set()
        thread.join()
