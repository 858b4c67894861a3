"""The server: what it answers, what it refuses, and that nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from curate.core.errors import (
    DataError,
    LockedError,
    MissingExtraError,
    SetupError,
    UsageError,
)
from curate.review.collect import Queueing
from curate.review.journal import NAME
from curate.review.report import format_bound
from curate.review.sampling import Target
from tests.review.conftest import Serve, Served

ADDED = {"state": "added", "origin": None, "xyxy": [70, 10, 90, 30]}


def decisions(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / NAME).read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "decision"]


def test_an_image_comes_with_its_boxes_and_a_decision_is_on_the_disk(
    serve: Serve, tmp_path: Path
) -> None:
    served = serve()
    status, said, _ = served.ask("GET", "/api/next?count=3&client=a")
    assert (status, [each["number"] for each in said["images"]]) == (200, [1, 2, 3])
    known = served.view(1)
    assert (known["width"], known["height"], known["frames"]) == (120, 80, 1)
    assert known["boxes"][0]["xyxy"] == [30, 20, 60, 50]
    status, said = served.decide(1, [{"state": "rejected", "origin": 0}, ADDED])
    assert status == 200
    [line] = decisions(tmp_path / "faces.review")
    assert (line["reviewer"], line["sha256"]) == ("ada", known["sha256"])
    assert [face["state"] for face in line["faces"]] == ["rejected", "added"]
    assert said["status"]["done"] == 1
    assert served.view(1)["decided"]["reviewer"] == "ada"


def test_the_least_certain_image_comes_first(serve: Serve) -> None:
    served = serve(queueing=Queueing(order="confidence"))
    assert served.view(1)["name"] == "5.png"


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (("confidence<0.6",), {"4.png", "5.png"}),
        (("id=[01].png",), {"0.png", "1.png"}),
        (("faces>=1", "id!=0.png", "height>20"), {f"{n}.png" for n in range(1, 6)}),
    ],
)  # fmt: skip
def test_filters_and_limits_choose_the_images(
    serve: Serve, filters: tuple[str, ...], names: set[str]
) -> None:
    served = serve(queueing=Queueing(filters=filters))
    count = served.ask("GET", "/api/status")[1]["images"]
    assert {served.view(number + 1)["name"] for number in range(count)} == names


def test_a_limit_takes_the_first_of_the_order(serve: Serve) -> None:
    served = serve(queueing=Queueing(order="confidence", limit=2))
    assert served.ask("GET", "/api/status")[1]["images"] == 2
    assert {served.view(number)["name"] for number in (1, 2)} == {"5.png", "4.png"}


def test_a_copy_without_a_face_comes_first_and_never_stands_on_the_contact_sheet(
    serve: Serve,
) -> None:
    served = serve(queueing=Queueing(contradicted=frozenset({"0.png"})))
    assert served.view(1)["name"] == "0.png"
    numbers = [each["number"] for each in served.ask("GET", "/api/next?sheet=1")[1]["images"]]
    assert 1 not in numbers


def test_groups_that_the_detector_serves_worse_come_first(
    serve: Serve, dataset: Path, tmp_path: Path
) -> None:
    faces = [{"file": f"{n}.png", "faces": []} for n in range(6)]
    (tmp_path / "faces.json").write_text(json.dumps(faces))
    rows = "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(6))
    (tmp_path / "groups.csv").write_text("id,tone\n" + rows)
    served = serve(queueing=Queueing(order="id"), groups=tmp_path / "groups.csv")
    for number in (1, 2):  # 0.png of group a has no more faces, 1.png of group b has three
        more = [{**ADDED, "xyxy": [x, 10, x + 9, 30]} for x in (10, 40, 70)]
        assert served.decide(number, more if number == 2 else [])[0] == 200
    served.stop()  # type: ignore[attr-defined]
    again = serve(groups=pd.read_csv(tmp_path / "groups.csv"))
    order = [again.view(number)["name"] for number in range(1, 7)]
    assert set(order[:3]) == {"1.png", "3.png", "5.png"}


def test_a_sample_says_how_many_images_to_look_at(serve: Serve, tmp_path: Path) -> None:
    served = serve(sample=Target(at_most=0.5))
    [line] = [line for line in served.lines if line.startswith("Sample: ")]
    assert "of 3 images are left to look at, drawn from 6; if no more faces are found" in line
    faces = [{"xyxy": [30, 20, 60, 50], "confidence": 0.95}]
    checked = [{"file": f"{n}.png", "faces": faces} for n in range(6)]
    (tmp_path / "faces.json").write_text(json.dumps(checked))
    sample = {"sample": Target(at_most=0.9, checks=2), "folder": tmp_path / "checked"}
    [line] = [line for line in serve(**sample).lines if line.startswith("Sample: ")]
    assert "once every reviewer has found faces in checks" in line
    assert "100 %" not in line


def test_the_result_of_a_sample_is_one_line_for_a_terminal() -> None:
    bound = {"looked": 3, "planned": 9, "found": 0, "upper_now": 0.5, "population": 90,
             "confidence": 0.95, "valid_now": False}  # fmt: skip
    assert "no bound is stated before" in format_bound(bound)
    assert "at most 50 % of the 90 images" in format_bound({**bound, "valid_now": True})
    whole = {**bound, "valid_now": True, "upper_now": 0.0}
    assert "at most 0 of the 90 images show one" in format_bound(whole)
    reviewers = [{"checks": 4, "sensitivity_lower": 0.0}, {"checks": 2, "sensitivity_lower": 0.3}]
    open_ended = {**bound, "valid_now": True, "upper_now": 1.0, "reviewers": reviewers}
    assert "no bound can be stated" in format_bound(open_ended)
    assert "1 of 2 reviewers found no face in theirs" in format_bound(open_ended)


def test_an_empty_queue_and_a_filter_that_cannot_be_read_are_one_line(serve: Serve) -> None:
    with pytest.raises(UsageError, match="no image is left"):
        serve(queueing=Queueing(filters=("faces>9",)))
    with pytest.raises(UsageError, match="cannot be read"):
        Queueing(filters=("faces",))
    with pytest.raises(UsageError, match="not a number"):
        serve(queueing=Queueing(filters=("faces=x",)))


# --- what is refused


@pytest.mark.parametrize("path", ["/api/view/1", "/api/frame/1/0", "/api/thumbnail/1", "/api/next"])
@pytest.mark.parametrize("token", ["", "wrong", "ü"])
def test_a_wrong_token_gets_no_image(serve: Serve, path: str, token: str) -> None:
    status, said, _ = serve().ask("GET", path, X_Curate_Token=token.encode().decode("latin-1"))
    assert status == 403
    assert "token is wrong" in said["error"]


def test_the_page_itself_needs_the_token(serve: Serve) -> None:
    served = serve()
    assert served.ask("GET", "/?token=wrong")[0] == 403
    assert served.ask("GET", "/")[0] == 403
    status, page, headers = served.ask("GET", f"/?token={served.token}")
    assert (status, headers["cache-control"]) == (200, "no-store")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert b"http" not in page.replace(b"http-equiv", b""), "the page asks nobody else"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
    ],
)
def test_requests_from_elsewhere_get_no_image(
    serve: Serve, headers: dict[str, str], status: int
) -> None:
    served = serve()
    for path in ("/api/view/1", "/api/thumbnail/1"):
        got, said, sent = served.ask("GET", path, **headers)
        assert got == status
        assert b"JFIF" not in (said if isinstance(said, bytes) else b"")
        assert sent["cache-control"] == "no-store"
    assert served.ask("POST", "/api/decide/1", {}, **headers)[0] == status


def test_requests_of_the_page_itself_are_answered(serve: Serve) -> None:
    served = serve()
    for host in ("127.0.0.1", "localhost"):
        own = f"{host}:{served.port}"
        headers = {"Host": own, "Origin": f"http://{own}", "Sec_Fetch_Site": "same-origin"}
        assert served.ask("GET", "/api/status", **headers)[0] == 200


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        (b"{", 422, "not a JSON object"),
        (b"[]", 422, "not a JSON object"),
        (b"[" * 100_000, 422, "not a JSON object"),
        (b"1" * 1_000_001, 422, "longer than"),
        ({"etag": 0, "sha256": "?", "faces": []}, 409, "has changed"),
    ],
)
def test_bodies_that_are_no_decision_are_one_line(
    serve: Serve, tmp_path: Path, body: Any, status: int, line: str
) -> None:
    got, said, _ = serve().ask("POST", "/api/decide/1", body)
    assert (got, "\n" in said["error"]) == (status, False)
    assert line in said["error"]
    assert decisions(tmp_path / "faces.review") == []


def test_a_box_outside_the_image_is_refused_and_nothing_is_saved(
    serve: Serve, tmp_path: Path
) -> None:
    served = serve()
    outside = {"state": "added", "origin": None, "xyxy": [100, 10, 200, 30]}
    status, said = served.decide(1, [{"state": "kept", "origin": 0}, outside])
    assert status == 422
    assert "lies outside the image of 120×80" in said["error"]
    assert decisions(tmp_path / "faces.review") == []


HUGE = 10**400


def test_numbers_of_any_size_in_a_decision_are_one_line(serve: Serve, tmp_path: Path) -> None:
    served = serve()
    added = {"state": "added", "origin": None, "xyxy": [0, 0, 9, HUGE]}
    status, said = served.decide(1, [{"state": "kept", "origin": 0}, added])
    assert (status, "is not a box" in said["error"]) == (422, True)
    known = served.view(1)
    body = {"etag": 0, "sha256": known["sha256"], "seconds": HUGE}
    assert served.ask("POST", "/api/decide/1", body)[0] == 200
    assert decisions(tmp_path / "faces.review")[0]["seconds"] == 3600


@pytest.mark.parametrize(
    "path",
    [
        "/api/view/99",
        "/api/frame/1/5",
        "/api/thumbnail/0",
        f"/api/view/{2**63}",
        f"/api/thumbnail/{HUGE}",
        f"/api/frame/1/{HUGE}",
    ],
    ids=lambda path: path[:20],
)
def test_what_is_not_there_is_one_line(serve: Serve, path: str) -> None:
    status, said, _ = serve().ask("GET", path)
    assert status == 422
    assert "there is no" in said["error"]


# --- changes and conflicts


def test_an_image_that_changed_since_it_was_shown_is_not_decided(
    serve: Serve, dataset: Path, tmp_path: Path
) -> None:
    served = serve()
    known = served.view(1)
    path = dataset / known["name"]
    Image.fromarray(np.zeros((80, 120, 3), np.uint8)).save(path)
    os.utime(path, ns=(1, 1))
    body = {"etag": 0, "sha256": known["sha256"], "faces": [{"state": "kept", "origin": 0}]}
    status, said, _ = served.ask("POST", "/api/decide/1", body)
    assert status == 409
    assert "has changed since it was shown; nothing was saved" in said["error"]
    assert decisions(tmp_path / "faces.review") == []
    path.unlink()
    status, said, _ = served.ask("GET", "/api/view/1")
    assert status == 422
    assert "cannot be shown" in said["error"]
    assert served.ask("GET", "/api/next?count=9")[1]["images"][0]["number"] == 2


def test_an_image_that_changed_since_detection_is_offered_to_nobody(
    serve: Serve, dataset: Path, tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    faces = [{"xyxy": [30.0, 20.0, 60.0, 50.0]}]
    rows = [{"id": f"{n}.png", "faces": faces, "source_sha256": "0" * 64} for n in range(6)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "other.parquet")
    served = serve(faces=tmp_path / "other.parquet")
    status, said, _ = served.ask("GET", "/api/view/1")
    assert status == 409
    assert "run curate detect again" in said["error"]
    assert [x["number"] for x in served.ask("GET", "/api/next?count=1")[1]["images"]] == [2]


def test_two_reviewers_get_different_images_and_never_overwrite_each_other(
    serve: Serve, tmp_path: Path
) -> None:
    served = serve()
    first = served.ask("GET", "/api/next?count=2&client=a&reviewer=ada")[1]["images"]
    second = served.ask("GET", "/api/next?count=2&client=b&reviewer=bob")[1]["images"]
    assert {x["number"] for x in first}.isdisjoint(x["number"] for x in second)
    known = served.view(1)
    body = {"etag": known["etag"], "sha256": known["sha256"], "seconds": 1}
    mine = {**body, "faces": [{"state": "kept", "origin": 0}]}
    theirs = {**body, "faces": [{"state": "rejected", "origin": 0}]}
    assert served.ask("POST", "/api/decide/1?reviewer=ada", mine)[0] == 200
    status, said, _ = served.ask("POST", "/api/decide/1?reviewer=bob", theirs)
    assert status == 412
    assert "was decided by ada" in said["error"]
    [line] = decisions(tmp_path / "faces.review")
    assert line["reviewer"] == "ada"
    again, said, _ = served.ask("POST", "/api/decide/1?reviewer=ada", mine)
    assert again == 200, "the same decision sent again is no conflict"
    assert len(decisions(tmp_path / "faces.review")) == 1


def test_blind_reviewers_do_not_see_each_other(serve: Serve, tmp_path: Path) -> None:
    served = serve(blind=True)
    assert served.decide(1, [{"state": "rejected", "origin": 0}], "ada")[0] == 200
    assert served.view(1, "bob")["decided"] is None
    assert served.decide(1, reviewer="bob")[0] == 200
    assert [line["reviewer"] for line in decisions(tmp_path / "faces.review")] == ["ada", "bob"]
    assert served.ask("GET", "/api/status?reviewer=ada")[1]["open"] == 5


def test_a_withdrawn_image_is_open_again(serve: Serve) -> None:
    served = serve()
    _, saved = served.decide(1)
    status, said, _ = served.ask("POST", "/api/withdraw/1", {"etag": saved["etag"]})
    assert (status, said["status"]["open"]) == (200, 6)
    assert served.ask("POST", "/api/withdraw/1", {"etag": 99})[0] == 412
    assert served.view(1)["decided"] is None
    assert served.ask("GET", "/api/next?count=1")[1]["images"][0]["number"] == 1


def test_the_contact_sheet_has_certain_images_and_accepts_them(
    serve: Serve, tmp_path: Path
) -> None:
    served = serve()
    images = served.ask("GET", "/api/next?sheet=1")[1]["images"]
    names = {served.view(each["number"])["name"] for each in images}
    assert names == {"0.png", "1.png"}, "those with a confidence of at least 0.8"
    number = images[0]["number"]
    assert served.ask("GET", f"/api/thumbnail/{number}")[1][:2] == b"\xff\xd8"
    body = {"etag": 0, "sha256": served.view(number)["sha256"]}
    assert served.ask("POST", f"/api/decide/{number}", body)[0] == 200
    [line] = decisions(tmp_path / "faces.review")
    assert (line["via"], [face["state"] for face in line["faces"]]) == ("sheet", ["kept"])


# --- orientation, frames, bad files


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_boxes_are_shown_upright_and_saved_as_stored(
    serve: Serve, tmp_path: Path, orientation: int
) -> None:
    folder = tmp_path / "turned"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((60, 100, 3), np.uint8)).save(folder / "a.jpg", exif=exif)
    served = serve(folder, folder=tmp_path / "turned.review")
    known = served.view(1)
    assert (known["width"], known["height"]) == ((60, 100) if orientation >= 5 else (100, 60))
    face = {"state": "added", "origin": None, "xyxy": [1, 2, 21, 32]}
    assert served.decide(1, [face])[0] == 200
    [line] = decisions(tmp_path / "turned.review")
    expected = {1: [1, 2, 21, 32], 3: [79, 28, 99, 58], 6: [2, 39, 32, 59], 8: [68, 1, 98, 21]}
    assert line["faces"][0]["xyxy"] == expected[orientation]
    assert served.view(1)["decided"]["faces"][0]["xyxy"] == [1, 2, 21, 32]


def test_every_frame_of_an_animation_is_shown(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "moving"
    folder.mkdir()
    frames = [Image.new("RGB", (40, 30), (80 * index, 0, 0)) for index in range(3)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    served = serve(folder, folder=tmp_path / "moving.review")
    assert served.view(1)["frames"] == 3
    jpegs = {served.ask("GET", f"/api/frame/1/{index}")[1] for index in range(3)}
    assert len(jpegs) == 3
    face = {"state": "added", "origin": None, "xyxy": [1, 2, 21, 22], "frames": [1]}
    assert served.decide(1, [face])[0] == 200
    assert decisions(tmp_path / "moving.review")[0]["faces"][0]["frames"] == [1]


def test_a_large_image_is_first_shown_smaller_and_in_full_when_asked(
    serve: Serve, tmp_path: Path
) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    Image.new("RGB", (3000, 1000), (9, 99, 9)).save(folder / "a.png")
    served = serve(folder, folder=tmp_path / "large.review")
    for query, width in (("", 2048), ("?full=1", 3000)):
        jpeg = served.ask("GET", f"/api/frame/1/0{query}")[1]
        (tmp_path / "seen.jpg").write_bytes(jpeg)
        with Image.open(tmp_path / "seen.jpg") as seen:
            assert seen.width == width


def test_a_file_that_cannot_be_decoded_is_left_out_with_its_reason(
    serve: Serve, dataset: Path
) -> None:
    (dataset / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    served = serve(queueing=Queueing(order="id"))
    status, said, _ = served.ask("GET", "/api/view/1")
    assert status == 422
    assert "'0.png' cannot be shown" in said["error"]
    shown = served.ask("GET", "/api/status")[1]
    assert (shown["images"], shown["open"], shown["not_shown"]) == (6, 5, 1)
    assert served.ask("GET", "/api/status")[1]["open"] == 5


# --- starting


def test_a_review_goes_on_where_it_was(serve: Serve, tmp_path: Path) -> None:
    first = serve()
    first.decide(1)
    first.stop()  # type: ignore[attr-defined]
    assert (first.state.decided, first.state.images) == (1, 6)
    path = tmp_path / "faces.review" / NAME
    path.write_bytes(path.read_bytes() + b'{"event": "decision", "id"')
    second = serve()
    assert any("cut off" in line for line in second.lines)
    assert second.address == first.address, "an open page goes on"
    assert second.ask("GET", "/api/status")[1]["done"] == 1
    assert second.ask("GET", "/api/next?count=1")[1]["images"][0]["number"] == 2


def test_a_second_server_of_one_review_is_refused(serve: Serve) -> None:
    serve()
    with pytest.raises(LockedError, match="another curate review is running"):
        serve()


def test_a_review_of_other_boxes_is_refused(serve: Serve, tmp_path: Path) -> None:
    serve().stop()  # type: ignore[attr-defined]
    (tmp_path / "faces.json").write_text('[{"file": "0.png", "faces": []}]')
    with pytest.raises(DataError, match="a review of something else"):
        serve()


def test_boxes_of_another_dataset_are_refused(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "faces.json").write_text('[{"file": "x/y.png", "faces": []}]')
    with pytest.raises(DataError, match="none of the 1 images"):
        serve()


def test_a_missing_extra_names_the_pip_line(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "uvicorn" else real(name)
    )
    with pytest.raises(MissingExtraError, match=r"pip install 'curate-dataset\[review\]'"):
        serve()


def test_a_port_in_use_is_one_line(serve: Serve) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SetupError, match=rf"port {port} cannot be used .*--port"):
            serve(port=port)


def start_process(
    dataset: Path, *more: str, **environment: str
) -> tuple[subprocess.Popen[str], str]:
    command = [
        sys.executable, "-c", "from curate.cli.main import main; main()", "review", str(dataset),
        "--faces", str(dataset.parent / "faces.json"), *more,
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert process.stdout is not None
    address = next(line.strip() for line in process.stdout if line.startswith("http"))
    return process, address


def test_a_server_that_is_killed_loses_nothing_that_it_said_was_saved(dataset: Path) -> None:
    process, address = start_process(dataset, "--no-browser")
    served = Served(address)
    for number in (1, 2, 3):
        assert served.decide(number)[0] == 200
    process.kill()
    process.communicate()
    process, address = start_process(dataset, "--no-browser")
    assert Served(address).ask("GET", "/api/status")[1]["done"] == 3
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "3 of 6 images decided" in out
    assert "Traceback" not in err


def test_without_a_display_the_address_is_enough(dataset: Path) -> None:
    environment = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "BROWSER": "", "PATH": "/nowhere"}
    process, address = start_process(dataset, **environment)
    assert process.stdout is not None
    shown = process.stdout.readline()
    assert Served(address).ask("GET", "/api/status")[0] == 200
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert "No browser could be opened" in shown
    assert (process.returncode, "Traceback" in err) == (0, False)
    assert Path(dataset.parent / "faces.review" / NAME).exists()
    assert address.count("token=") == 1
