from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from curate.cli.main import main
from curate.core.errors import DataError
from curate.impact.explain.images import open_images
from curate.impact.explain.options import Selection
from curate.impact.explain.selection import iter_stored
from curate.impact.pairs import open_datasets
from tests.conftest import ROOT, InProcess
from tests.impact.explain.explained import Colors, make_dataset, obfuscate

COLOURS = ("--model", "python:tests.impact.explain.explained:Colors")
QUICK = ("--methods", "gradcam,lrp")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("explain")
    make_dataset(folder / "photos")
    obfuscate(folder / "photos", folder / "out")
    return folder / "photos", folder / "out"


def told_apart(said: str) -> tuple[list[str], list[str]]:
    """How far it was, and everything else that was said."""
    steps = ("comparing: ", "explaining: ")
    lines = said.strip().splitlines()
    return (
        [line for line in lines if line.startswith(steps)],
        [line for line in lines if not line.startswith(steps)],
    )


@pytest.fixture
def curate(in_process: InProcess) -> InProcess:
    return functools.partial(in_process, "impact", "explain")


def test_the_report_and_the_page_come_from_a_real_process(
    data: tuple[Path, Path], tmp_path: Path
) -> None:
    out, page = tmp_path / "explain.json", tmp_path / "explain.html"
    program = [sys.executable, "-c", "from curate.cli.main import main; main()"]
    done = subprocess.run(
        [*program, "impact", "explain", *data, *COLOURS, *QUICK, "-o", out, "--html", page],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    steps, lines = told_apart(done.stderr)
    assert steps[0] == "comparing: 8 of 8 images"
    assert lines[0].startswith("The prediction on 4 of 8 images with faces changed")
    assert lines[1].startswith("Grad-CAM: 100.0 % of attribution on faces before")
    assert len(lines) == 3
    assert json.loads(out.read_text())["version"] == 1
    assert page.read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["explain.html", "explain.json"]


def test_json_on_stdout(data: tuple[Path, Path], tmp_path: Path, curate: InProcess) -> None:
    one = curate(*data, *COLOURS, *QUICK, "--max-images", "1", "--quiet", "--json")
    assert one.returncode == 0, one.stderr
    assert one.stderr == ""
    both = curate(
        *data, *COLOURS, *QUICK, "--max-images", "1", "--json", "-o", tmp_path / "x.json", "-q"
    )
    assert both.stdout == one.stdout == (tmp_path / "x.json").read_text()


def test_errors_are_one_line_with_an_exit_code(
    data: tuple[Path, Path], tmp_path: Path, curate: InProcess
) -> None:
    photos, out = data
    (tmp_path / "ids.txt").write_text("nowhere.png\n")
    for arguments, code, said in (
        ((photos, photos, *COLOURS), 1, "has no manifest"),
        ((tmp_path / "no", out, *COLOURS), 1, "ORIGINAL"),
        ((tmp_path, out, *COLOURS), 1, "but not in ORIGINAL"),
        (
            (photos, out, *COLOURS, "--ids", tmp_path / "ids.txt"),
            1,
            "which the manifest does not have",
        ),
        ((photos, out, *COLOURS, "--predictions", tmp_path), 1, "impact evaluate --predictions"),
        ((photos, out, *COLOURS, "--methods", "lrp,smooth"), 2, "unknown method 'smooth'"),
        ((photos, out, *COLOURS, "--methods", ","), 2, "name methods, each once"),
        ((photos, out, *COLOURS, "--max-images", "0"), 2, "must be 1 or more"),
        ((photos, out, *COLOURS, "--sample", "1", "--ids", "x"), 2, "give one"),
        ((photos, out, *COLOURS, "--sample", "1", "--predictions", "x"), 2, "drop --sample"),
        ((photos, out, *COLOURS, "--seed", "-1"), 2, "--seed must be 0 or more"),
        ((photos, out, *COLOURS, "--lime-samples", "1"), 2, "must be 10 or more"),
        ((photos, out, *COLOURS, "--layer", "x"), 2, "has no layer 'x' that runs once"),
        ((photos, out, *COLOURS, "--show-originals"), 2, "name it with --html FILE"),
        ((photos, out, *COLOURS, "-o", tmp_path), 2, "cannot write"),
        ((photos, out, *COLOURS, "-o", photos / "x.json"), 2, "inside, the input"),
        ((photos, out, *COLOURS, "-o", out / "x.json"), 2, "inside, the input"),
        ((photos, out, "--model", "nothing"), 2, "nothing"),
        ((photos, out, *COLOURS, "--classes", "4"), 1, "names 4"),
        ((photos,), 2, "missing argument"),
    ):
        done = curate(*arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert said in done.stderr, (arguments, done.stderr)
        assert len(told_apart(done.stderr)[1]) == 1, done.stderr
        assert done.stdout == ""


def test_kept_predictions_select_the_same_images(
    data: tuple[Path, Path], tmp_path: Path, curate: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "labels.csv").write_text(
        "id,label\n"
        + "".join(
            f"{path.relative_to(data[0]).as_posix()},red\n" for path in data[0].rglob("*.png")
        )
    )
    monkeypatch.chdir(ROOT)
    arguments = ["curate", "impact", "evaluate", *map(str, data), *COLOURS, "--arms", "none"]
    arguments += ["--labels", str(tmp_path / "labels.csv"), "-q", "-o", str(tmp_path / "e.json")]
    monkeypatch.setattr(sys, "argv", [*arguments, "--predictions", str(tmp_path / "kept")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    asked = curate(*data, *COLOURS, *QUICK, "-q", "--json")
    kept = curate(*data, *COLOURS, *QUICK, "-q", "--json", "--predictions", tmp_path / "kept")
    assert kept.returncode == 0, kept.stderr
    assert kept.stdout == asked.stdout

    class Another(Colors):
        spec = "another"

    images = open_images(open_datasets(str(data[0]), data[1]))
    with pytest.raises(DataError, match="of another model"):
        list(iter_stored(tmp_path / "kept", images, Another()))
    assert Selection(predictions=tmp_path).way == "changed"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, curate.cli.impact.explain\n"
        "heavy = {'torch', 'captum', 'cv2', 'datasets', 'sklearn', 'skimage'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
