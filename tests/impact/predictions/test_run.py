from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import CurateError, DataError, ManifestError, SetupError, UsageError
from curate.impact.metrics import log_softmax
from curate.impact.pair_index import open_pair_index
from curate.impact.predictions.report import ImpactReport
from curate.impact.predictions.run import measure_impact
from curate.impact.tables import load_groups, load_weights
from curate.manifest.store import iter_entries
from tests.conftest import ROOT
from tests.impact.predictions.files import draw, measure, save
from tests.layouts.in_memory import pop_origin
from tests.pipeline.test_progress import Terminal
from tests.report import checks
from tests.report.checks import check_page

DEMO = ROOT / "manifests/demo"
ENTRIES = list(iter_entries(DEMO / "records"))
WRITTEN = [entry for entry in ENTRIES if entry.output_path is not None]
IDS, LABELS, LOGITS = draw()
WORSE = LOGITS.copy()
WORSE[::3, :] += np.random.default_rng(1).normal(0, 2, WORSE[::3].shape).astype(np.float32)


def check_schema(report: ImpactReport) -> dict[str, Any]:
    return checks.check_schema(report, "impact-1")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return (
        save(tmp_path / "original.npz", IDS, LABELS, logits=LOGITS),
        save(tmp_path / "obfuscated.parquet", IDS, LABELS, logits=WORSE),
    )


def demo_pair(tmp_path: Path, **more: Any) -> tuple[Path, Path]:
    """Predictions on the demo run: originals of all images, obfuscated ones of the written."""
    labels = np.arange(len(ENTRIES)) % 3
    logits = draw(len(ENTRIES), 3)[2]
    kept = [place for place, entry in enumerate(ENTRIES) if entry in WRITTEN]
    ids = [entry.id for entry in ENTRIES]
    return (
        save(tmp_path / "o.npz", ids, labels, logits=logits, **more.get("original", {})),
        save(
            tmp_path / "b.npz",
            [ids[place] for place in kept],
            labels[kept],
            logits=logits[kept],
            **more.get("obfuscated", {}),
        ),
    )


def test_report_fits_its_schema_and_notes(
    pair: tuple[Path, Path],
) -> None:
    report = check_schema(measure((pair,)))
    assert report["pairs"] == 300
    before, after = (logits.argmax(axis=1) == LABELS for logits in (LOGITS, WORSE))
    assert report["top1"]["original"] == pytest.approx(before.mean())
    assert report["top1"]["difference"] == pytest.approx(after.mean() - before.mean())
    assert report["mcnemar"]["b"] == (before & ~after).sum()
    assert report["mcnemar"]["c"] == (~before & after).sum()
    low, high = report["top1"]["ci95"]
    assert low < report["top1"]["difference"] < high
    assert report["notes"] == [
        "Nothing by hidden share or number of faces: no --manifest was given.",
        "Nothing by group: a table of groups was not given.",
    ]


def test_row_order_and_format_do_not_matter(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    order = np.random.default_rng(2).permutation(len(IDS))
    names = [IDS[place] for place in order]
    other = save(tmp_path / "b.npz", names, LABELS[order], logits=WORSE[order])
    first = measure((pair,)).to_dict()
    second = measure(((pair[0], other),)).to_dict()
    del first["predictions"], second["predictions"]
    assert first == second


def test_probabilities_and_full_lists_equal_logits(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    found = measure((pair,))
    for way in ("probabilities", "lists"):
        files = []
        for name, logits in (("a", LOGITS), ("b", WORSE)):
            p = np.exp(log_softmax(logits))
            best = np.argsort(-p, axis=1, kind="stable")
            arrays = {"logits": p}
            if way == "lists":
                arrays = {"topk": best, "scores": np.take_along_axis(p, best, axis=1)}
            files.append(save(tmp_path / f"{name}.npz", IDS, LABELS, **arrays))
        other = measure(((files[0], files[1]),), classes="6")
        assert other.impact.top1 == found.impact.top1
        assert other.impact.test == found.impact.test
        assert other.impact.precision == pytest.approx(found.impact.precision, abs=1e-3)
        assert other.impact.calibration is not None
        assert found.impact.calibration is not None
        ece = found.impact.calibration[1].ece
        assert other.impact.calibration[1].ece == pytest.approx(ece, abs=1e-4)


def test_short_lists_of_plain_scores_have_neither_top5_nor_calibration(tmp_path: Path) -> None:
    best = np.argsort(-LOGITS, axis=1)[:, :2]
    scores = np.take_along_axis(LOGITS, best, axis=1)
    file = save(tmp_path / "a.parquet", IDS, LABELS, topk=best, scores=scores)
    answer = measure(((file, file),), classes="6")
    report = check_schema(answer)
    assert report["top5"] is report["calibration"] is None
    assert "No top-5: only 2 classes are ranked." in answer.notes
    assert "No calibration: the scores are not probabilities." in answer.notes
    assert "Average precision ranks classes that are not listed last." in answer.notes


def test_class_names_appear_in_the_report(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("ant\nbee\ncow\ndog\nelk\nfox\ngnu")
    labels = np.array(["ant", "bee", "cow", "dog", "elk", "fox"])[LABELS]
    logits = np.concatenate([LOGITS, LOGITS[:, :1] - 9], axis=1)
    file = save(tmp_path / "a.parquet", IDS, labels, logits=logits)
    answer = measure(((file, file),), classes=str(names))
    report = check_schema(answer)
    assert [row["category"] for row in report["per_class"]][:2] == ["ant", "bee"]
    assert "1 of 7 classes have no image and are left out." in answer.notes


def test_faces_and_withheld_images_from_the_manifest(tmp_path: Path) -> None:
    report = check_schema(measure((demo_pair(tmp_path),), manifest=DEMO))
    assert report["pairs"] == len(WRITTEN)
    withheld = len(ENTRIES) - len(WRITTEN)
    assert report["unpaired"] == {"original": 0, "obfuscated": 0, "withheld": withheld}
    with_faces = sum(bool(entry.faces) for entry in WRITTEN)
    assert report["by_presence"]["with_faces"]["n"] == with_faces
    assert report["by_blurred_share"][0]["n"] == len(WRITTEN) - with_faces
    assert report["by_faces"][3]["n"] == sum(len(entry.faces) in (3, 4) for entry in WRITTEN)
    assert report["manifest"]["obfuscator"] == json.loads((DEMO / "run.json").read_text())[
        "obfuscator"]["name"]  # fmt: skip


def test_groups_with_few_values_are_compared(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    table = tmp_path / "groups.csv"
    rows = [f"{name},{'I' if n % 2 else 'VI'},p{n}" for n, name in enumerate(IDS)]
    table.write_text("\n".join(["id,tone,person", *rows]))
    answer = measure((pair,), groups=table)
    report = check_schema(answer)
    assert list(report["by_group"]) == ["tone"]
    assert [row["n"] for row in report["by_group"]["tone"]["groups"]] == [150, 150]
    assert report["by_group"]["tone"]["gap"]["growth"]["ci95"] is not None
    again = check_schema(measure((pair,), groups=pd.read_csv(table)))
    assert (pop_origin(report)[1], pop_origin(again)[1]) == (False, True)
    assert again == report
    with pytest.raises(UsageError, match="has no column 'age'; it has: tone, person"):
        measure((pair,), groups=table, by=("age",))
    with pytest.raises(UsageError, match="--by needs the table"):
        measure((pair,), by=("age",))
    table.write_text("id,tone\nother,I")
    with pytest.raises(DataError, match="lists none of the images"):
        measure((pair,), groups=table)


def test_several_models_are_clusters(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    same = measure((pair, pair))
    assert same.impact.top1.difference == measure((pair,)).impact.top1.difference  # fmt: skip
    report = check_schema(same)
    assert report["models"] == 2
    assert len(report["predictions"]) == 2


def test_the_page_shows_everything_and_escapes_names(
    tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(["<b>ant", "bee", "cow", "dog", "elk", "fox"]))
    table = tmp_path / "groups.csv"
    table.write_text("\n".join(["id,tone", *(f"{name},{n % 2}" for n, name in enumerate(IDS))]))
    page = measure((pair,), classes=str(names), groups=table).to_html()
    check_page(page)
    assert "&lt;b&gt;ant" in page
    assert "<b>ant" not in page
    for text in ("By tone", "Reliability", "McNemar", "smallest drop", ">--manifest<"):
        assert text in page
    page = measure((demo_pair(tmp_path),), manifest=DEMO).to_html()
    check_page(page)
    assert "By number of hidden faces" in page


def with_row(array: np.ndarray, value: Any) -> np.ndarray:
    changed = array.copy()
    changed[3] = value
    return changed


@pytest.mark.parametrize(
    ("ids", "labels", "arrays", "line"),
    [
        (
            ["x", *IDS[1:]],
            LABELS,
            {"logits": WORSE},
            "1, such as 'val/00000.jpg'",
        ),
        ([*IDS, "x"], [*LABELS, 0], {"logits": [*WORSE, WORSE[0]]}, "such as 'x'; --allow-missing"),
        (IDS, with_row(LABELS, 6), {"logits": WORSE}, "has the class 6 for 'val/00003.jpg'"),
        (
            IDS,
            with_row(LABELS, (LABELS[3] + 1) % 6),
            {"logits": WORSE},
            "different labels for 'val/00003.jpg'",
        ),
        (IDS, LABELS, {"logits": WORSE[:, :5]}, "has scores for 5 classes where there are 6"),
        (IDS, LABELS, {"logits": with_row(WORSE, np.nan)}, "for 'val/00003.jpg' that is NaN"),
        (["a", *IDS[2:], "a"], LABELS, {"logits": WORSE}, "has the id 'a' twice"),
        (
            IDS,
            LABELS,
            {"topk": np.zeros((300, 1), dtype=int), "scores": np.ones((300, 1))},
            "give both in the same form",
        ),
        (
            IDS,
            LABELS,
            {"logits": np.concatenate([np.eye(6)[LABELS[:200]], WORSE[:100]])},
            "probabilities as logits of some images, not of all",
        ),
    ],
)
def test_mismatched_files_are_one_line_errors(
    tmp_path: Path,
    pair: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    ids: list[str],
    labels: Any,
    arrays: dict[str, Any],
    line: str,
) -> None:
    monkeypatch.setattr("curate.impact.prediction_files.ROWS", 100)
    other = save(tmp_path / "other.npz", ids, labels, **arrays)
    with pytest.raises(CurateError, match=line) as error:
        measure(((pair[0], other),))
    assert "\n" not in str(error.value)


def test_unpaired_images_are_left_out_on_request(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    other = save(tmp_path / "other.npz", IDS[10:], LABELS[10:], logits=WORSE[10:])
    found = measure(((pair[0], other),), allow_missing=True)
    assert found.facts["unpaired"] == {"original": 10, "obfuscated": 0, "withheld": 0}
    part = save(tmp_path / "part.npz", IDS[10:], LABELS[10:], logits=LOGITS[10:])
    first, second = found.to_dict(), measure(((part, other),)).to_dict()
    assert {name for name in first if first[name] != second[name]} == {"predictions", "unpaired"}
    nothing = save(tmp_path / "nothing.npz", ["x"], [0], logits=WORSE[:1])
    with pytest.raises(DataError, match="have no id in common"):
        measure(((pair[0], nothing),), allow_missing=True)


def test_lists_need_the_number_of_classes(tmp_path: Path) -> None:
    file = save(tmp_path / "a.npz", ["a"], [0], topk=[[0]], scores=[[1.0]])
    with pytest.raises(DataError, match="give the names or number of all with --classes"):
        measure(((file, file),))


def test_a_manifest_of_another_dataset_is_refused(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="another dataset: it does not list 300 of 300 images"):
        measure((pair,), manifest=DEMO)
    ids = [entry.id for entry in ENTRIES]
    both = save(tmp_path / "all.npz", ids, [0] * len(ids), logits=np.eye(2)[[0] * len(ids)])
    with pytest.raises(DataError, match="another dataset: it withheld 'train/people/"):
        measure(((both, both),), manifest=DEMO)


def test_digests_are_compared_with_the_manifest(tmp_path: Path) -> None:
    right = {
        "original": {"sha256": [entry.source_sha256 or "" for entry in ENTRIES]},
        "obfuscated": {"sha256": [entry.output_sha256 or "" for entry in WRITTEN]},
    }
    measure((demo_pair(tmp_path, **right),), manifest=DEMO)
    for which in right:
        wrong = {**right, which: {"sha256": ["0" * 64] * len(right[which]["sha256"])}}
        files = demo_pair(tmp_path, **wrong)
        line = f"another dataset: the {which} file of 'train/cat/chelsea.jpg' has another SHA-256"
        with pytest.raises(DataError, match=line):
            measure((files,), manifest=DEMO)


def test_a_manifest_that_was_changed_is_refused(tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "out/manifest")
    files = demo_pair(tmp_path)
    measure((files,), manifest=tmp_path / "out")
    (tmp_path / "out/manifest/records/part-00001.parquet").unlink()
    with pytest.raises(ManifestError, match="it was changed"):
        measure((files,), manifest=tmp_path / "out")


def test_full_disk_is_a_setup_error(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(blocks: object, scores: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("curate.impact.predictions.scoring.ScoreBlocks.write", fail)
    with pytest.raises(SetupError, match=r"No space left on device; free disk space"):
        measure((pair,))


def test_crossed_attributes_and_frames(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    table = tmp_path / "groups.csv"
    rows = [f"{name},{'ab'[n % 2]},{'xy'[n % 3 > 0] if n else ''}" for n, name in enumerate(IDS)]
    table.write_text("\n".join(["id,tone,age", *rows]))
    found = measure((pair,), groups=table, by=("tone,age", "age"))
    report = check_schema(found)
    assert list(report["by_group"]) == ["tone,age", "age"]
    crossed = report["by_group"]["tone,age"]
    assert {row["group"]: row["n"] for row in crossed["groups"]} == {
        "a & x": 49, "a & y": 100, "b & x": 50, "b & y": 100,
    }  # fmt: skip
    assert crossed["unlabeled"] == 1
    assert [row["subset"] for row in report["reliability"]["subsets"]][:2] == [
        "all images",
        "tone,age: a & x",
    ]
    frame = found.to_frame()
    assert list(frame.index) == [row["category"] for row in report["per_class"]]
    assert frame["difference"].tolist() == [row["difference"] for row in report["per_class"]]
    assert repr(found).startswith("<ImpactReport: 300 pairs, top-1 ")
    with pytest.raises(UsageError, match="has no column 'sex'"):
        measure((pair,), groups=table, by=("tone,sex",))


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("separator", ["/", "\\"])
@pytest.mark.parametrize("suffix", ["", ".jpg"])
@pytest.mark.parametrize("column", ["id", "file_name", "path"])
def test_ids_of_groups_match_as_in_other_tables(
    ending: str, separator: str, suffix: str, column: str, tmp_path: Path
) -> None:
    index_of = {f"train/c{n % 2}/{n}.jpg": n for n in range(6)}
    rows = [(f"c{n % 2}{separator}{n}{suffix}", "ab"[n % 3 == 0]) for n in index_of.values()]
    table = tmp_path / f"groups{ending}"
    if ending == ".parquet":
        pq.write_table(pa.Table.from_pylist([{column: a, "tone": b} for a, b in rows]), table)
    elif ending == ".jsonl":
        table.write_text("\n".join(json.dumps({column: a, "tone": b}) for a, b in rows))
    else:
        comma = {".csv": ";", ".tsv": "\t"}[ending]
        table.write_text("\n".join(comma.join(row) for row in [(column, "tone"), *rows]))
    with open_pair_index(tmp_path) as index:
        index.add_file("a", [list(index_of)])
        index.join()
        found = load_groups(table, (), index)
        names = list(index.iter_ids())
    assert found == {"tone": ["ab"[index_of[name] % 3 == 0] for name in names]}


def test_an_ambiguous_id_of_groups_matches_no_image(tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("id;tone\n1;a\n2;b\n3;a\nx/3.jpg;b\n")
    with open_pair_index(tmp_path) as index:
        index.add_file("a", [["x/1.jpg", "y/1.jpg", "x/2.jpg", "x/3.jpg", "3"]])
        index.join()
        found = load_groups(table, ("tone",), index)["tone"]
        named = dict(zip(index.iter_ids(), found, strict=True))
    assert named == {"x/1.jpg": None, "y/1.jpg": None, "x/2.jpg": "b", "x/3.jpg": "b", "3": "a"}


@pytest.mark.parametrize("second", ["1.jpg", "c\\1.jpg", "./c/1.jpg"])
def test_an_id_of_groups_that_is_given_twice_is_an_error(second: str, tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text(f"id,tone\nc/1.jpg,a\n1.jpg,b\n{second},b\n")
    with open_pair_index(tmp_path) as index:
        index.add_file("a", [["c/1.jpg"]])
        index.join()
        with pytest.raises(DataError, match="twice"):
            load_groups(table, ("tone",), index)


def test_weights_match_as_groups_do(tmp_path: Path) -> None:
    table = tmp_path / "weights.csv"
    table.write_text("file_name;weight\nc\\1;1\nc\\2;3\n")
    with open_pair_index(tmp_path) as index:
        index.add_file("a", [["train/c/1.jpg", "train/c/2.jpg"]])
        index.join()
        assert load_weights(table, index, np.ones(2, dtype=bool)).tolist() == [0.5, 1.5]


def test_reading_many_predictions_shows_progress(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    measure_impact(*pair)
    assert terminal.getvalue() == "", "few rows take no time"
    monkeypatch.setattr("curate.impact.predictions.run._MANY", 1)
    measure_impact(*pair, quiet=True)
    assert terminal.getvalue() == ""
    measure_impact(*pair)
    lines = terminal.getvalue().replace("\r", "\n").splitlines()
    assert list(dict.fromkeys(line.partition(":")[0] for line in lines if line)) == [
        "ids of original.npz",
        "ids of obfuscated.parquet",
        "reading original.npz",
        "reading obfuscated.parquet",
    ]
