from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import InProcess, run_process

BOX = [10, 10, 40, 40]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three images, labels, detections of two of them, and unusable files."""
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "source").mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(np.zeros((60, 60, 3), np.uint8)).save(folder / f"source/{name}.png")
    faces = [{"xyxy": BOX, "tone": "<b>VI</b>"}, {"xyxy": [0, 0, 60, 60], "tone": "I"}]
    truth = [{"file": f"{name}.png", "faces": faces} for name in ("a", "b", "c")]
    found = [{"file": "a.png", "faces": [{"xyxy": BOX}]}, {"file": "b.png", "faces": []}]
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "found.json").write_text(json.dumps(found))
    (folder / "no.json").write_text("[")
    (folder / "no.csv").write_text("name\nx\n")
    return folder


@pytest.fixture
def evaluate(folder: Path, in_process: InProcess, monkeypatch: pytest.MonkeyPatch) -> InProcess:
    monkeypatch.chdir(folder)
    return functools.partial(in_process, "evaluate")


def test_the_summary_is_on_stderr_json_on_request_and_withheld_images_in_the_exit_code(
    folder: Path, evaluate: InProcess
) -> None:
    given = ("source", "--faces", "truth.json", "--detections", "found.json")
    done = evaluate(*given, "--json", "--html", "page.html", "--by", "tone")
    assert evaluate(*given).stdout == ""
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    assert report["version"] == 1
    assert report["images"]["withheld"] == {
        "images": 1,
        "faces": 2,
        "reasons": {"not-looked-at": 1},
    }
    assert "2 labeled images, 1 withheld" in done.stderr
    page = (folder / "page.html").read_text()
    assert "&lt;b&gt;VI&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "data:image" not in page


def test_quiet_prints_nothing_and_files_have_the_report(folder: Path) -> None:
    given = (folder / "source", "--faces", folder / "truth.json")
    given += ("--detections", folder / "found.json", "-o", folder / "report.json")
    done = run_process("evaluate", *given, "--html", folder / "shown.html", "--show-misses", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    assert json.loads((folder / "report.json").read_text())["faces"]["counted"] == 4
    assert (folder / "shown.html").read_text().count("data:image/jpeg") == 3


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["source"], 2, "--faces"),
        (["source", "--faces", "truth.json", "--show-misses"], 2, "--html FILE"),
        (["source", "--faces", "truth.json", "-o", "source/x.json"], 2, "inside, the input source"),
        (
            ["source", "--faces", "truth.json", "-o", "absent/x.json"],
            2,
            "cannot write absent",
        ),
        (["source", "--faces", "truth.json", "--by", "age"], 2, "choose one of: tone"),
        (["source", "--faces", "truth.json", "--min-height", "-1"], 2, "min-height"),
        (["source", "--faces", "no.json"], 1, "not valid JSON"),
        (["source", "--faces", "absent.json"], 1, "absent.json"),
        (["source", "--faces", "truth.json", "--groups", "no.csv"], 1, "no column of ids"),
        (["source", "--faces", "truth.json", "--groups", "absent.csv"], 1, "absent.csv"),
        (["source", "--faces", "truth.json", "--detections", "no.json"], 1, "not valid JSON"),
        (["absent", "--faces", "truth.json"], 1, "absent"),
    ],
)
def test_unusable_input_is_one_clear_line(
    folder: Path, arguments: list[str], code: int, said: str, evaluate: InProcess
) -> None:
    done = evaluate(*arguments)
    lines = done.stderr.strip().splitlines()
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in lines[-1]
    assert len([line for line in lines if line.startswith("curate: ")]) == 1
    assert "Traceback" not in done.stderr
