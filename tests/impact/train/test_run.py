from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate.core.errors import CurateError, DataError, PausedError, UsageError
from curate.impact.experiment import OBFUSCATED, ORIGINAL
from curate.impact.train.cells import Cell
from curate.impact.train.options import TrainOptions, TrainSession
from curate.impact.train.report import TrainReport
from curate.impact.train.run import train_impact
from curate.pipeline.session import Step
from tests.impact.predictions.files import measure
from tests.impact.train.datasets import HOW, blur_dataset, make_dataset
from tests.report import checks
from tests.report.checks import check_page

FACE, GONE = "val/red/03.png", ("train/red/02.png", "val/blue/05.png")
REFERENCE, DEPLOYED = Cell(ORIGINAL, ORIGINAL), Cell(OBFUSCATED, ORIGINAL)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("original"))


@pytest.fixture(scope="module")
def exchanged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blue images look red, and red ones blue."""
    return make_dataset(tmp_path_factory.mktemp("exchanged"), exchanged=True)


@pytest.fixture(scope="module")
def found(original: Path, exchanged: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainReport:
    return run(tmp_path_factory.mktemp("work"), ask(original, exchanged))


@pytest.fixture(scope="module")
def blurred(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One face in a test image, one in a training image, and two images withheld."""
    out = tmp_path_factory.mktemp("blurred") / "out"
    return blur_dataset(original, out, [FACE, "train/blue/01.png"], GONE)


Request = tuple[Path, Path, TrainOptions]


def ask(original: Path, obfuscated: Path, **more: Any) -> Request:
    options = {"hyperparameters": HOW, "seeds": 2, "device": "cpu", **more}
    return original, obfuscated, TrainOptions(**options)


def run(tmp_path: Path, request: Request, **more: Any) -> TrainReport:
    answer = train_impact(*request, TrainSession(work=tmp_path, workers=2, **more))
    assert not list(tmp_path.glob(".curate-train-*"))
    return answer


def check_schema(report: TrainReport) -> dict[str, Any]:
    return checks.check_schema(report, "train-1")


def write_table(path: Path, **columns: Sequence[Any]) -> Path:
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), path)
    return path


def names(folder: Path, split: str = "") -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in (folder / split).rglob("*.png"))


@pytest.mark.slow
def test_identical_images_give_exactly_equal_cells_and_no_gap(
    tmp_path: Path, original: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    report = check_schema(run(tmp_path, ask(original, copy)))
    cells = [report["cells"][a][b] for a in (ORIGINAL, OBFUSCATED) for b in (ORIGINAL, OBFUSCATED)]
    assert all(cell == cells[0] for cell in cells)
    for gap in report["gaps"].values():
        assert gap["top1"]["value"] == 0
        assert gap["top1"]["p"] == 1
        assert gap["top1"]["ci95"][0] < 0 < gap["top1"]["ci95"][1]
        assert gap["top1"]["per_seed"] == [0, 0]
    for seed in (0, 1):
        first, second = (each for each in report["runs"] if each["seed"] == seed)
        assert first["weights_sha256"] == second["weights_sha256"]
        assert first["curve"] == second["curve"]
    assert report["runs"][0]["weights_sha256"] != report["runs"][2]["weights_sha256"]
    assert {each[name]["kind"] for each in report["per_class"] for name in report["gaps"]
            if name in each} == {"none"}  # fmt: skip


@pytest.mark.slow
def test_planted_effect_is_found_in_its_cells_only(found: TrainReport) -> None:
    """Trained on the other colors, every blue and red image is wrong and every green right."""
    report = check_schema(found)
    for same in (ORIGINAL, OBFUSCATED):
        assert report["cells"][same][same]["top1"]["value"] == 1
    for name in ("deployment", "unadapted"):
        gap = report["gaps"][name]["top1"]
        assert gap["value"] == pytest.approx(-2 / 3)
        assert gap["ci95"][1] < -0.4
        assert gap["p"] < 1e-4
    assert report["gaps"]["diagonal"]["top1"]["value"] == 0
    kinds = [each["deployment"]["kind"] for each in report["per_class"]]
    assert kinds == ["loss", "none", "loss"]
    assert found.to_frame()["deployment_kind"].tolist() == kinds
    assert repr(found) == "<TrainReport: 2 seeds, deployment gap -66.67 points>"
    blue = report["per_class"][0]
    assert (blue["category"], blue["train"], blue["test"]) == ("blue", 12, 10)
    assert blue["deployment"]["confusion"] == {"category": "red", "share": 1}
    assert {each["diagonal"]["kind"] for each in report["per_class"]} == {"none"}


@pytest.mark.slow
@pytest.mark.worker_processes
def test_the_number_of_processes_changes_nothing(
    tmp_path: Path, original: Path, exchanged: Path, found: TrainReport
) -> None:
    both = train_impact(*ask(original, exchanged), TrainSession(work=tmp_path, workers=2))
    assert both.to_dict() == found.to_dict()


@pytest.mark.slow
def test_withheld_images_are_left_out(tmp_path: Path, original: Path, blurred: Path) -> None:
    answer = run(tmp_path, ask(original, blurred, seeds=1))
    report = check_schema(answer)
    images = report["images"]
    assert (images["train"], images["test"], images["withheld"]) == (35, 29, 2)
    assert (images["train_with_faces"], images["test_with_faces"]) == (1, 1)
    assert images["by_split"] == {"train": 35, "val": 29}
    assert report["manifest"]["obfuscator"] == "diffuse"
    assert report["by_presence"]["with_faces"]["n"] == 1
    assert report["by_presence"]["without_faces"]["n"] == 28
    assert report["notes"][0].startswith("Intervals hold for other images only")
    page = answer.to_html()
    check_page(page)
    assert "With and without faces" in page
    assert "withheld from the obfuscated dataset: 2." in page


@pytest.mark.slow
def test_weights_and_groups_show_what_a_correction_does_for_each_group(
    tmp_path: Path, original: Path, exchanged: Path, found: TrainReport
) -> None:
    ids = names(original)
    weights = write_table(tmp_path / "w.parquet", id=ids, weight=[1.0 + (i % 3) for i in range(66)])
    tests = names(original, "val")
    odd = [("left", "right")[place % 2] for place in range(30)]
    groups = pa.table({"id": tests[:-1], "side": odd[:-1], "other": odd[:-1]})
    request = ask(original, exchanged, weights=weights, groups=groups, by=("side",))
    answer = run(tmp_path, request)
    report = check_schema(answer)
    assert len(report["runs"]) == 8
    assert list(report["by_group"]) == ["side"]
    assert report["groups_in_memory"]
    grouping = report["by_group"]["side"]
    assert [each["group"] for each in grouping["groups"]] == ["left", "right"]
    assert grouping["unlabeled"] == 1
    part = grouping["groups"][0]
    cell = part["weighted_cells"][OBFUSCATED][ORIGINAL]
    assert part["corrections"][OBFUSCATED][ORIGINAL]["value"] == pytest.approx(
        cell["value"] - part["cells"][OBFUSCATED][ORIGINAL]["value"]
    )
    assert set(report["weighted"]) == {"cells", "gaps", "corrections"}
    assert found.to_dict()["cells"] == report["cells"]
    page = answer.to_html()
    check_page(page)
    for heading in ("With weights", "By side", "Effect of the weights"):
        assert heading in page


@pytest.mark.slow
def test_saved_predictions_are_readable(tmp_path: Path, original: Path, blurred: Path) -> None:
    folder = tmp_path / "predictions"
    report = run(tmp_path, ask(original, blurred), predictions=folder).to_dict()
    assert len(list(folder.iterdir())) == 9
    pairs = tuple(
        (
            folder / f"seed-{seed}_trained-original_tested-original.parquet",
            folder / f"seed-{seed}_trained-obfuscated_tested-original.parquet",
        )
        for seed in (0, 1)
    )
    read = measure(pairs, classes=str(folder / "classes.txt"), manifest=blurred)
    assert read.impact.top1.difference == pytest.approx(
        report["gaps"]["deployment"]["top1"]["value"]
    )
    assert read.impact.experiment.classes == ("blue", "green", "red")
    assert read.impact.faces is not None
    assert read.impact.precision[0] == pytest.approx(
        report["cells"][ORIGINAL][ORIGINAL]["average_precision"], abs=1e-6
    )


@pytest.mark.slow
def test_holdout_is_the_same_in_both_datasets(tmp_path: Path) -> None:
    source = make_dataset(tmp_path / "a", {"": 12})
    other = make_dataset(tmp_path / "b", {"": 12}, exchanged=True)
    folder = tmp_path / "predictions"
    report = run(tmp_path, ask(source, other, holdout=0.5), predictions=folder).to_dict()
    assert (report["images"]["train"], report["images"]["test"]) == (18, 18)
    assert report["images"]["holdout"] == 0.5
    ids = [pq.read_table(path)["id"].to_pylist() for path in folder.glob("*.parquet")]
    assert all(each == ids[0] for each in ids)


@pytest.mark.slow
def test_paused_run_resumes(
    tmp_path: Path, original: Path, exchanged: Path, found: TrainReport
) -> None:
    request, stop = ask(original, exchanged), threading.Event()

    def watch(step: Step) -> None:
        if step.what == "training" and step.done >= 3:
            stop.set()

    with pytest.raises(PausedError, match="run the same command again"):
        train_impact(*request, TrainSession(work=tmp_path, workers=2, watch=watch, stop=stop))
    (work,) = tmp_path.glob(".curate-train-*")
    assert (work.stat().st_mode & 0o777) == 0o700
    done = len(list(work.glob("checkpoints/*.pt"))) + len(list(work.glob("results/*")))
    assert done >= 1
    steps: list[Step] = []
    resumed = run(tmp_path, request, watch=steps.append)
    assert steps[0] == Step("reading images", "images", 66, 66)
    assert resumed.to_dict() == found.to_dict()


@pytest.mark.slow
def test_undecodable_file_is_left_out_of_both_datasets(tmp_path: Path, original: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    (copy / "val/red/00.png").write_bytes((copy / "val/red/00.png").read_bytes()[:80])
    report = check_schema(run(tmp_path, ask(original, copy, seeds=1)))
    assert report["images"]["unreadable"] == 1
    assert report["images"]["test"] == 29
    assert "1 images are left out because a file cannot be decoded." in report["notes"]


def spoil_manifest(original: Path, blurred: Path, place: Path) -> tuple[Path, Path]:
    other = make_dataset(place / "other")
    Image.fromarray(np.zeros((24, 24, 3), np.uint8)).save(other / "val/red/07.png")
    return other, blurred


def lose_a_class(original: Path, blurred: Path, place: Path) -> tuple[Path, Path]:
    source = make_dataset(place / "a")
    make_dataset(source, {"val": 2}, ["gray"])
    return source, source


def have_other_images(original: Path, blurred: Path, place: Path) -> tuple[Path, Path]:
    return make_dataset(place / "a", {"train": 2, "test": 2}, ["x", "y"]), original


def miss_one(original: Path, blurred: Path, place: Path) -> tuple[Path, Path]:
    shutil.copytree(original, place / "a")
    (place / "a/val/red/01.png").unlink()
    return original, place / "a"


def stop_half_way(original: Path, blurred: Path, place: Path) -> tuple[Path, Path]:
    (place / "a/.curate").mkdir(parents=True)
    return original, place / "a"


def be_flat(original: Path, blurred: Path, place: Path) -> tuple[Path, Path]:
    (place / "a").mkdir()
    shutil.copy(original / "val/red/01.png", place / "a")
    return place / "a", place / "a"


def change_an_output(original: Path, blurred: Path, place: Path) -> tuple[Path, Path]:
    shutil.copytree(blurred, place / "out")
    path = place / "out/data/val/red/01.png"
    path.chmod(0o644)
    shutil.copy(original / "val/red/02.png", path)
    return original, place / "out"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (spoil_manifest, "the manifest of another dataset: the original file of 'val/red/07.png'"),
        (change_an_output, "another dataset: the obfuscated file of 'val/red/01.png'"),
        (lose_a_class, "the class 'gray' has no training image"),
        (have_other_images, "have no image in common, by ids such as 'test/x/00.png' and"),
        (miss_one, "images of ORIGINAL that are not in OBFUSCATED: 1, such as 'val/red/01.png'"),
        (stop_half_way, "is an unfinished run of curate blur"),
        (be_flat, "no image of ORIGINAL has a class"),
    ],
)
def test_mismatched_datasets_are_one_line_errors(
    tmp_path: Path,
    original: Path,
    blurred: Path,
    make: Callable[[Path, Path, Path], tuple[Path, Path]],
    said: str,
) -> None:
    pair = make(original, blurred, tmp_path)
    with pytest.raises(DataError) as caught:
        train_impact(*ask(*pair), TrainSession(work=tmp_path, workers=1))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob(".curate-train-*"))


@pytest.mark.slow
def test_images_that_only_one_dataset_has_can_be_left_out(tmp_path: Path, original: Path) -> None:
    pair = miss_one(original, original, tmp_path)
    report = run(tmp_path, ask(*pair, seeds=1, allow_missing=True)).to_dict()
    assert report["images"]["only_in_original"] == 1
    assert report["images"]["test"] == 29


def test_mismatched_tables_are_one_line_errors(
    tmp_path: Path, original: Path, exchanged: Path
) -> None:
    ids = names(original)
    table = tmp_path / "t.parquet"

    def fails(kind: type[CurateError], said: str, **more: Any) -> None:
        with pytest.raises(kind, match=said):
            train_impact(*ask(original, exchanged, **more), TrainSession(work=tmp_path))
        assert not list(tmp_path.glob(".curate-train-*"))

    write_table(table, id=ids[3:], weight=[1.0] * 63)
    fails(DataError, "no weight for 3 of 36 training images, such as", weights=table)
    write_table(table, id=ids, weight=[float("nan")] * 66)
    fails(DataError, "the weight nan; want a number of 0 or more", weights=table)
    write_table(table, id=ids, weight=[-1.0] * 66)
    fails(DataError, "the weight -1.0; want", weights=table)
    write_table(table, id=ids, weight=[0.0] * 66)
    fails(DataError, "every training image the weight 0", weights=table)
    write_table(table, id=[*ids, ids[0]], weight=[1.0] * 67)
    fails(DataError, "twice", weights=table)
    write_table(table, id=ids, mass=[1.0] * 66)
    fails(DataError, "no column 'weight'; it has: id, mass", weights=table)
    fails(UsageError, "no column 'tone'; it has", groups=table, by=("tone",))
    write_table(table, id=["x"], tone=["a"])
    fails(DataError, "lists none of the test images", groups=table)
    fails(DataError, "cannot be read", weights=tmp_path / "absent.parquet")


def test_contradictory_options_are_refused(original: Path) -> None:
    for more, said in (
        ({"by": ("tone",)}, "--by needs"),
        ({"holdout": 1.0}, "--holdout must be"),
        ({"seeds": 0}, "--seeds must be"),
        ({"seed": -1}, "--seed must be"),
    ):
        with pytest.raises(UsageError, match=said):
            ask(original, original, **more)


@pytest.mark.slow
def test_classes_can_come_from_a_table(tmp_path: Path, original: Path, exchanged: Path) -> None:
    ids = [name for name in names(original) if "blue" not in name]
    colors = ["warm" if "red" in name else "cold" for name in ids]
    labels = write_table(tmp_path / "l.parquet", id=ids, label=colors)
    report = check_schema(run(tmp_path, ask(original, exchanged, seeds=1, labels=labels)))
    assert [each["category"] for each in report["per_class"]] == ["cold", "warm"]
    assert report["images"]["without_class"] == 22
    assert (report["images"]["train"], report["images"]["test"]) == (24, 20)


@pytest.mark.slow
def test_probe_gives_the_same_report(tmp_path: Path, original: Path, exchanged: Path) -> None:
    request = ask(original, exchanged, probe="python:tests.impact.train.models:colors", seeds=None)
    answer = run(tmp_path, request)
    report = check_schema(answer)
    assert report["seeds"] == [0]
    assert report["training"]["kind"] == "probe"
    assert report["training"]["features"] == 3
    assert report["cells"][ORIGINAL][ORIGINAL]["top1"]["value"] == 1
    assert report["gaps"]["deployment"]["top1"]["ci95"][1] < 0
    assert report["runs"][0]["strength"] > 0
    assert "Learning curves" not in answer.to_html()
