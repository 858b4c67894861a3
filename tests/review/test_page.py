"""The page in a real browser: Debian's chromium, driven by its own chromedriver."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from curate.review.collect import Queueing
from curate.review.journal import NAME
from curate.review.sampling import Target
from tests.review.conftest import Serve
from tests.review.test_server import start_process

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytest.importorskip("selenium", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="no browser: apt-get install chromium chromium-driver",
)


def start_browser() -> Chrome:
    from selenium.webdriver import Chrome
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = CHROMIUM or ""
    for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options=options, service=Service(DRIVER))
    browser.set_script_timeout(30)
    return browser


class Page:
    """A page of a review in a browser that shows nothing else."""

    def __init__(
        self, browser: Chrome, width: int = 1280, height: int = 800, dark: bool = False
    ) -> None:
        self.browser = browser
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.command("Emulation.setEmulatedMedia", features=scheme)
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip

    def command(self, name: str, **values: Any) -> None:
        self.browser.execute_cdp_cmd(name, values)

    def open(self, address: str) -> None:
        self.browser.get(address)
        self.wait(lambda: self.text("name") != "" or self.shows("empty"))

    def keys(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser, duration=0).send_keys(*keys).perform()

    def shift(self, key: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser).key_down(SHIFT).send_keys(key).key_up(SHIFT).perform()

    def run(self, script: str, *values: Any) -> Any:
        return self.browser.execute_script(script, *values)

    def text(self, element: str) -> str:
        return str(self.run("return document.getElementById(arguments[0]).textContent", element))

    def shows(self, element: str) -> bool:
        return not self.run("return document.getElementById(arguments[0]).hidden", element)

    def states(self) -> list[str]:
        script = "return [...document.querySelectorAll('#list li')].map((e) => e.classList[0])"
        return list(self.run(script))

    def wait(self, holds: Callable[[], bool], seconds: float = 15) -> None:
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(f"waited {seconds} s in vain; the page says {self.said()}")
            time.sleep(0.03)

    def said(self) -> str:
        return str(self.run("return document.body.innerText"))[:500]

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag from one pixel of the image to another, with the mouse."""
        (x0, y0), (x1, y1) = self.place(*start), self.place(*end)
        middle = ((x0 + x1) / 2, (y0 + y1) / 2)
        for kind, (x, y) in (
            ("mousePressed", (x0, y0)), ("mouseMoved", middle), ("mouseMoved", (x1, y1)),
            ("mouseReleased", (x1, y1)),
        ):  # fmt: skip
            self.command(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1,
                clickCount=1,
            )  # fmt: skip

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the image is in the window."""
        script = """
            const point = new DOMPoint(arguments[0], arguments[1]);
            const at = point.matrixTransform(document.getElementById('layer').getScreenCTM());
            return [at.x, at.y];"""
        across, down = self.run(script, x, y)
        return across, down

    def leave(self) -> None:
        """Close every tab but a new one, which knows nothing of this page."""
        used = self.browser.window_handles
        self.browser.switch_to.new_window("tab")
        new = self.browser.current_window_handle
        for handle in used:
            self.browser.switch_to.window(handle)
            self.browser.close()
        self.browser.switch_to.window(new)
        self.command("Storage.clearDataForOrigin", origin="*", storageTypes="all")
        self.complaints()

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser")]


@pytest.fixture(scope="module")
def browsers() -> Iterator[list[Chrome]]:
    """Browsers that no test uses at the moment: starting one takes seconds."""
    idle: list[Chrome] = []
    yield idle
    for browser in idle:
        browser.quit()


@pytest.fixture
def pages(browsers: list[Chrome]) -> Iterator[Callable[..., Page]]:
    made: list[Page] = []

    def make(**options: Any) -> Page:
        made.append(Page(browsers.pop() if browsers else start_browser(), **options))
        return made[-1]

    yield make
    for page in made:
        browsers.append(page.browser)
        page.leave()


@pytest.fixture
def page(pages: Callable[..., Page]) -> Page:
    return pages()


ORDERED = {"queueing": Queueing(order="id")}
TAB, ESCAPE, ENTER = "\ue004", "\ue00c", "\ue007"
LEFT, RIGHT, DOWN, SHIFT = "\ue012", "\ue014", "\ue015", "\ue008"


def decisions(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / NAME).read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "decision"]


def boxes(folder: Path, index: int = -1) -> list[tuple[str, list[int]]]:
    return [
        (face["state"], [round(value) for value in face["xyxy"]])
        for face in decisions(folder)[index]["faces"]
    ]


def test_accept_and_reject_by_keyboard(page: Page, serve: Serve, tmp_path: Path) -> None:
    page.open(serve(**ORDERED).address)
    assert (page.text("name"), page.states()) == ("0.png", ["kept"])
    page.keys(" ")
    page.wait(lambda: page.text("name") == "1.png")
    page.keys(TAB, "x")
    assert page.states() == ["rejected"]
    page.keys("x")
    assert page.states() == ["kept"]
    page.keys("x", " ")
    page.wait(lambda: page.text("name") == "2.png" and page.text("saved") == "Saved")
    assert boxes(tmp_path / "faces.review", 0) == [("kept", [30, 20, 60, 50])]
    assert boxes(tmp_path / "faces.review", 1) == [("rejected", [30, 20, 60, 50])]
    assert page.text("count") == "2 of 6"
    assert page.complaints() == []


def test_a_box_is_drawn_with_the_mouse_and_added_by_keyboard(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    page.open(serve(**ORDERED).address)
    page.keys("a")
    page.drag((70, 10), (90, 35))
    page.wait(lambda: page.states() == ["kept", "added"])
    page.keys("a", ENTER)
    assert page.states() == ["kept", "added", "added"]
    names = page.run("return [...document.querySelectorAll('#list b')].map((e) => e.textContent)")
    assert names == ["face 1", "face 2, added", "face 3, added"]
    page.keys("x", " ")
    page.wait(lambda: page.text("saved") == "Saved")
    saved = boxes(tmp_path / "faces.review")
    assert saved == [("kept", [30, 20, 60, 50]), ("added", [70, 10, 90, 35])]


def test_a_box_is_moved_and_resized_by_keyboard(page: Page, serve: Serve, tmp_path: Path) -> None:
    page.open(serve(**ORDERED).address)
    page.keys(TAB, RIGHT, DOWN)
    page.shift(RIGHT)
    assert page.states() == ["changed"]
    page.keys("1", LEFT, LEFT, "4", DOWN, " ")
    page.wait(lambda: page.text("saved") == "Saved")
    assert boxes(tmp_path / "faces.review") == [("changed", [39, 21, 71, 52])]


def test_a_box_is_moved_and_resized_with_the_mouse(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    page.open(serve(**ORDERED).address)
    page.drag((45, 35), (50, 40))
    page.wait(lambda: page.states() == ["changed"])
    page.drag((65, 55), (75, 65))  # its lower right corner
    page.keys(" ")
    page.wait(lambda: page.text("saved") == "Saved")
    assert boxes(tmp_path / "faces.review") == [("changed", [35, 25, 75, 65])]


def test_undo_takes_back_edits_and_then_decisions(page: Page, serve: Serve, tmp_path: Path) -> None:
    page.open(serve(**ORDERED).address)
    page.keys(TAB, "x", "z")
    assert page.states() == ["kept"]
    page.keys("x", " ")
    page.wait(lambda: page.text("name") == "1.png" and page.text("saved") == "Saved")
    page.keys("z")
    page.wait(lambda: page.text("name") == "0.png" and page.text("count") == "0 of 6")
    assert page.states() == ["rejected"], "as it was decided"
    page.keys(TAB, "x", " ")
    page.wait(lambda: page.text("count") == "1 of 6")
    assert boxes(tmp_path / "faces.review") == [("kept", [30, 20, 60, 50])]


def test_browsing_decides_nothing_and_a_reload_goes_on(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    page.open(serve(**ORDERED).address)
    page.keys(RIGHT)
    page.wait(lambda: page.text("name") == "1.png")
    page.keys(LEFT)
    page.wait(lambda: page.text("name") == "0.png")
    page.keys(" ")
    page.wait(lambda: page.text("count") == "1 of 6")
    page.browser.refresh()
    page.wait(lambda: page.text("name") == "1.png" and page.text("count") == "1 of 6")
    assert len(decisions(tmp_path / "faces.review")) == 1


def test_two_tabs_share_the_work_and_a_conflict_is_told(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    served = serve(**ORDERED)
    page.open(served.address)
    first = page.browser.current_window_handle
    page.browser.switch_to.new_window("tab")
    page.open(served.address)
    other = page.text("name")
    assert other != "0.png", "the second tab gets an image that the first has not"
    page.browser.switch_to.window(first)
    assert page.text("name") == "0.png"
    assert served.decide(1, [{"state": "rejected", "origin": 0}], "bob")[0] == 200
    page.keys(" ")
    page.wait(lambda: "was decided by bob" in page.text("notice-text"))
    assert [line["reviewer"] for line in decisions(tmp_path / "faces.review")] == ["bob"]


def test_a_server_that_is_killed_and_started_again_loses_nothing(page: Page, dataset: Path) -> None:
    process, address = start_process(dataset, "--no-browser", "--order", "id")
    page.open(address)
    page.keys(" ")
    page.wait(lambda: page.text("saved") == "Saved")
    process.kill()
    process.communicate()
    page.keys(" ", " ")
    page.wait(lambda: "Not saved" in page.text("saved"))
    process, again = start_process(dataset, "--no-browser", "--order", "id")
    try:
        assert again == address
        page.wait(lambda: page.text("saved") == "Saved")
        assert len(decisions(dataset.parent / "faces.review")) == 3
    finally:
        process.kill()
        process.communicate()


def test_a_browser_that_is_closed_while_the_server_is_gone_keeps_the_decision(
    page: Page, dataset: Path
) -> None:
    process, address = start_process(dataset, "--no-browser", "--order", "id")
    page.open(address)
    process.kill()
    process.communicate()
    page.keys(TAB, "x", " ")
    page.wait(lambda: "Not saved" in page.text("saved"))
    process, _ = start_process(dataset, "--no-browser", "--order", "id")
    try:
        page.run("window.onbeforeunload = null")
        page.browser.get(address)
        page.wait(lambda: page.text("count") == "1 of 6")
        assert boxes(dataset.parent / "faces.review") == [("rejected", [30, 20, 60, 50])]
    finally:
        process.kill()
        process.communicate()


def test_every_frame_is_shown_before_an_animation_is_accepted(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    folder = tmp_path / "moving"
    folder.mkdir()
    frames = [Image.new("RGB", (60, 40), (80 * index, 0, 0)) for index in range(3)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    page.open(serve(folder, folder=tmp_path / "moving.review").address)
    page.keys(" ")
    page.wait(lambda: "2 / 3" in page.text("frame-text"))
    page.keys("a", ENTER, "g", " ")
    page.wait(lambda: "3 / 3" in page.text("frame-text"))
    assert decisions(tmp_path / "moving.review") == []
    page.keys(" ")
    page.wait(lambda: page.text("saved") == "Saved")
    assert [face["frames"] for face in decisions(tmp_path / "moving.review")[0]["faces"]] == [[1]]


def test_the_contact_sheet_accepts_what_is_not_marked(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    page.open(serve(**ORDERED).address)
    page.keys("c")
    tiles = "return document.querySelectorAll('#grid figure').length"
    page.wait(lambda: page.run(tiles) == 2)
    page.keys("x", " ")
    page.wait(lambda: page.text("count") == "1 of 6")
    [line] = decisions(tmp_path / "faces.review")
    assert (line["id"], line["via"]) == ("1.png", "sheet")
    page.wait(lambda: page.run(tiles) == 1)
    page.keys(ENTER)
    page.wait(lambda: page.shows("single") and page.text("name") == "0.png")


def test_the_contact_sheet_shows_all_of_every_image(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    folder = tmp_path / "shapes"
    folder.mkdir()
    for width, height in ((100, 400), (400, 100), (90, 90), (400, 300)):
        Image.new("RGB", (width, height)).save(folder / f"{width}x{height}.png")
    page.open(serve(folder, folder=tmp_path / "shapes.review").address)
    page.keys("c")
    page.wait(lambda: page.run("return document.querySelectorAll('#grid img').length") == 4)
    for outside, shape, name in page.run(_TILES):
        width, height = map(int, name.split(".")[0].split("x"))
        assert not outside
        assert shape == pytest.approx(width / height, rel=0.05)


_TILES = """
return [...document.querySelectorAll('#grid figure')].map((tile) => {
  const frame = tile.querySelector('.pic').getBoundingClientRect();
  const image = tile.querySelector('img').getBoundingClientRect();
  const outside = image.top < frame.top - 1 || image.bottom > frame.bottom + 1
    || image.left < frame.left - 1 || image.right > frame.right + 1;
  return [outside, image.width / image.height, tile.getAttribute('aria-label').split(',')[0]];
});"""


def test_touch_draws_too_and_nothing_is_cut_off_at_390_px(
    pages: Callable[..., Page], serve: Serve, tmp_path: Path
) -> None:
    page = pages(width=390, height=844)
    page.open(serve(**ORDERED).address)
    wide = page.run("return document.documentElement.scrollWidth")
    assert wide <= 390
    page.run("document.querySelector('[data-do=add]').click()")
    (x0, y0), (x1, y1) = page.place(70, 10), page.place(100, 40)
    for kind, points in (
        ("touchStart", [(x0, y0)]), ("touchMove", [((x0 + x1) / 2, (y0 + y1) / 2)]),
        ("touchMove", [(x1, y1)]), ("touchEnd", []),
    ):  # fmt: skip
        page.command(
            "Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y} for x, y in points]
        )
    page.wait(lambda: page.states() == ["kept", "added"])
    page.run("document.querySelector('[data-do=accept]').click()")
    page.wait(lambda: page.text("saved") == "Saved")
    assert boxes(tmp_path / "faces.review")[1] == ("added", [70, 10, 100, 40])


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_contrast_labels_and_targets(
    pages: Callable[..., Page], serve: Serve, width: int, dark: bool
) -> None:
    page = pages(width=width, dark=dark)
    page.open(serve(**ORDERED).address)
    page.keys(TAB)
    assert page.run(_POOR_CONTRAST) == []
    assert page.run(_UNNAMED) == []
    assert page.run("return document.documentElement.scrollWidth") <= width


_UNNAMED = """
return [...document.querySelectorAll('button, input, [tabindex]')].filter((e) => e.checkVisibility()
  && !(e.getAttribute('aria-label') || e.textContent.trim() || (e.labels && e.labels.length)))
  .map((e) => e.outerHTML);"""

_POOR_CONTRAST = """
const number = (c) => c.match(/[\\d.]+/g).map(Number);
const linear = (v) => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const c = number(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > .9) return c;
  }
  return [255, 255, 255];
};
const hasText = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
return [...document.querySelectorAll('header *, aside *, nav *')]
  .filter((e) => e.checkVisibility() && !e.closest(':disabled') && e.tagName !== 'KBD')
  .filter(hasText)
  .map((e) => {
    const a = light(number(getComputedStyle(e).color)), b = light(behind(e));
    return [e.id || e.textContent, (Math.max(a, b) + .05) / (Math.min(a, b) + .05)];
  })
  .filter(([, ratio]) => ratio < 4.5);"""


def test_focus_enters_and_leaves_the_image_by_keyboard(page: Page, serve: Serve) -> None:
    page.open(serve(**ORDERED).address)
    focused = "return document.activeElement.id || document.activeElement.dataset.do"
    assert page.run(focused) == "stage"
    page.keys(TAB, TAB)
    assert page.run(focused) == "stage", "Tab goes through the boxes"
    page.keys(ESCAPE, ESCAPE)
    assert page.run(focused) == "accept"
    page.keys(TAB)
    assert page.run(focused) == "forward"
    page.keys("?")
    page.wait(lambda: bool(page.run("return document.getElementById('help').open")))
    page.keys(ESCAPE)
    assert page.run(focused) == "stage"


def test_a_sample_shows_its_bound(page: Page, serve: Serve, tmp_path: Path) -> None:
    served = serve(sample=Target(at_most=0.5))
    page.open(served.address)
    planned = served.ask("GET", "/api/status")[1]["bound"]["planned"]
    page.keys(*" " * planned)
    page.wait(lambda: page.shows("empty") and page.text("saved") == "Saved")
    assert "at most" in page.text("bound-now")
    assert f"{planned} of {planned} looked at, 0 with a visible face" in page.text("bound-end")
    served.stop()  # type: ignore[attr-defined]
    assert served.state.bound["accepted"]


def test_an_image_that_cannot_be_shown_is_counted_at_the_end(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    Image.new("RGB", (60, 40)).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    served = serve(folder, folder=tmp_path / "two.sample", sample=Target(at_most=0.1))
    page.open(served.address)
    page.wait(lambda: page.text("name") == "a.png")
    page.keys(" ")
    page.wait(lambda: "All others are decided; 1 image could not be shown" in page.text("empty"))
    page.wait(lambda: page.text("count") == "1 of 2")
    served.stop()  # type: ignore[attr-defined]
    said = served.state.to_text()
    assert "1 of 2 images decided" in said
    assert "1 image could not be shown, so no bound can be stated" in said


def test_a_wrong_token_shows_one_line(page: Page, serve: Serve) -> None:
    served = serve()
    page.browser.get(served.address[:-4] + "xxxx")
    assert page.said().startswith("The token is wrong")


def test_an_image_that_changes_while_it_is_shown_is_told(
    page: Page, serve: Serve, dataset: Path, tmp_path: Path
) -> None:
    page.open(serve(**ORDERED).address)
    Image.new("RGB", (120, 80)).save(dataset / "0.png")
    page.keys(" ")
    page.wait(lambda: "has changed since it was shown" in page.text("notice-text"))
    assert decisions(tmp_path / "faces.review") == []


def test_a_scripted_reviewer_decides_every_image_once(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(60):
        Image.new("RGB", (500, 375), (index * 4, 90, 90)).save(folder / f"{index:03}.jpg")
    page.open(serve(folder, folder=tmp_path / "many.review").address)
    assert page.browser.execute_async_script(_PRESS, 59) == 59
    page.wait(lambda: page.text("count") == "59 of 60")
    assert len({line["id"] for line in decisions(tmp_path / "many.review")}) == 59
    assert page.complaints() == []


_PRESS = """
const [times, done] = arguments;
const name = () => document.getElementById('name').textContent;
const stage = document.getElementById('stage');
let pressed = 0;
const press = () => {
  if (pressed === times) { done(pressed); return; }
  const before = name();
  stage.dispatchEvent(new KeyboardEvent('keydown', { key: ' ', bubbles: true }));
  pressed += 1;
  const wait = () => name() === before ? setTimeout(wait, 5) : setTimeout(press, 20);
  wait();
};
press();"""
