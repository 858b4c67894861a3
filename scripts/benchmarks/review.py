"""The section on `curate review`: a scripted reviewer in a browser, and memory of a long queue."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.plan import Plan
from benchmarks.processes import BenchError
from benchmarks.tables import Report
from curate.codec.rgb import encode_for_screen

_METHOD = """\
A scripted reviewer accepts one image after the other in Debian's chromium, 50 ms after the image \
has appeared, 500×375 photos; *waits* are keys after which the next image took more than 50 ms to \
appear. Memory: resident size of the server's process after a tenth and after all of a queue of \
{queue:,} images, shown and decided over HTTP."""

_PRESS = """
const [times, done] = arguments;
const name = () => document.getElementById('name').textContent;
const stage = document.getElementById('stage');
const waits = [], began = performance.now();
const press = () => {
  if (waits.length === times) { done([waits, performance.now() - began]); return; }
  const before = name(), at = performance.now();
  stage.dispatchEvent(new KeyboardEvent('keydown', { key: ' ', bubbles: true }));
  const wait = () => {
    if (name() === before) { setTimeout(wait, 1); return; }
    waits.push(performance.now() - at);
    setTimeout(press, 50);
  };
  wait();
};
press();"""


def review(plan: Plan) -> Report:
    """Images per second by keyboard, waits for the server, and memory."""
    pages, queue = (40, 400) if plan.quick else (500, 10_000)
    report = Report("Review", _METHOD.format(queue=queue))
    with TemporaryDirectory(prefix="curate-bench-") as place:
        folder = Path(place)
        waits, seconds = _press(_make_photos(folder / "photos", pages + 1, (500, 375)), pages)
        late = sum(wait > 50 for wait in waits)
        report.figures.append({"images": pages, "seconds": seconds, "late": late})
        row = (f"{pages:,}", f"{pages / seconds:.1f}", f"{late:,}", f"{np.median(waits):.0f}")
        head = ("images", "images/s", "waits", "median wait, ms")
        report.tables.append(("", head, [row]))
        early, end = _walk(_make_photos(folder / "queue", queue, (64, 48)), queue)
        report.figures.append({"queue": queue, "early_mb": early, "end_mb": end})
        head = ("queue", "memory after a tenth, MiB", "after all, MiB")
        report.tables.append(("", head, [(f"{queue:,}", f"{early:.0f}", f"{end:.0f}")]))
    return report


def _make_photos(folder: Path, count: int, size: tuple[int, int]) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        small = random.integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
        image = np.kron(small, np.ones((8, 8, 1), np.uint8))
        (folder / f"{number:05}.jpg").write_bytes(encode_for_screen(image))
    return folder


def _serve(photos: Path) -> tuple[subprocess.Popen[str], str]:
    command = [
        sys.executable, "-c", "from curate.cli.main import main; main()", "review", str(photos),
        "--no-browser", "--folder", str(photos.parent / f"{photos.name}.review"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # noqa: S101 - narrows the type
    address = next((line.strip() for line in process.stdout if line.startswith("http")), None)
    if address is None:
        raise BenchError("curate review did not start")
    return process, address


def _press(photos: Path, times: int) -> tuple[list[float], float]:
    from selenium.webdriver import Chrome
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        raise BenchError("no browser; run: apt-get install chromium chromium-driver")
    process, address = _serve(photos)
    options = Options()
    options.binary_location = chromium
    for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(switch)
    browser = Chrome(options=options, service=Service(driver))
    try:
        browser.set_script_timeout(600)
        browser.get(address)
        time.sleep(2)
        waits, milliseconds = browser.execute_async_script(_PRESS, times)
        return list(waits), milliseconds / 1000
    finally:
        browser.quit()
        process.terminate()
        process.wait()


def _walk(photos: Path, count: int) -> tuple[float, float]:
    """Show and decide every image; resident MiB of the server early and at the end."""
    process, address = _serve(photos)
    early = 0.0
    try:
        for number in range(1, count + 1):
            known = _view(address, number)
            body = {"etag": known["etag"], "sha256": known["sha256"], "faces": [], "seconds": 1}
            _ask(address, f"/api/decide/{number}", body)
            if number == count // 10:
                early = _resident(process.pid)
        return early, _resident(process.pid)
    finally:
        process.terminate()
        process.wait()


def _view(address: str, number: int) -> dict[str, Any]:
    data = _ask(address, f"/api/view/{number}")
    known: dict[str, Any] = json.loads(data[4 : 4 + int.from_bytes(data[:4], "big")])
    return known


def _ask(address: str, path: str, body: Any = None) -> bytes:
    from http.client import HTTPConnection
    from urllib.parse import parse_qs, urlsplit

    parts = urlsplit(address)
    connection = HTTPConnection("127.0.0.1", parts.port or 0, timeout=30)
    headers = {"X-Curate-Token": parse_qs(parts.query)["token"][0]}
    method, data = ("GET", None) if body is None else ("POST", json.dumps(body))
    connection.request(method, path, data, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != 200:
        raise BenchError(f"{path}: the server answered {answer.status}")
    return content


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
