from __future__ import annotations

import hashlib
import html
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import curate
from curate.core.errors import DataError, UsageError
from curate.evaluation.report import Evaluation
from curate.evaluation.run import evaluate, picture_misses
from tests.layouts.in_memory import pop_origin
from tests.report import checks
from tests.report.checks import check_page

BOX = [10.0, 10.0, 40.0, 40.0]
FAR = [60.0, 60.0, 90.0, 90.0]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for number in range(30):
        pixels = np.full((100, 120, 3), 8 * number, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return folder


def label(path: Path, images: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(images))
    return path


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Of 28 images one is not in SOURCE, two have no face; tones in turn."""
    images = [
        {"file": f"{n:02}.png", "faces": [{"xyxy": BOX, "tone": "I" if n % 2 else "VI"}]}
        for n in range(25)
    ]
    images += [{"file": f"{n}.png", "faces": []} for n in (25, 26)]
    return label(tmp_path / "truth.json", [*images, {"file": "absent.png", "faces": []}])


@pytest.fixture
def detections(tmp_path: Path) -> Path:
    """All faces of tone I are found, half of VI; 26 has a false box; 24 is withheld."""
    rows = []
    for n in range(30):
        found = n < 25 and (n % 2 == 1 or n % 4 == 0)
        faces = [{"xyxy": BOX, "confidence": 0.9}] if found else []
        faces += [{"xyxy": FAR, "confidence": 0.2}] if n == 26 else []
        row = {"id": f"{n:02}.png", "width": 120, "height": 100, "faces": faces, "reason": None}
        rows.append(row if n != 24 else {**row, "faces": None, "reason": "truncated: it ends"})
    path = tmp_path / "faces.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def check_schema(report: Evaluation) -> dict[str, Any]:
    return checks.check_schema(report, "evaluate-1")


def decide(path: Path, decided: dict[int, str], states: dict[int, str]) -> Path:
    """A table of faces in which each image was decided by this, and has this state of a review."""
    rows = []
    for n in range(30):
        faces = [{"xyxy": BOX, "decided_by": decided.get(n, "detector")}] if n < 25 else []
        rows.append({"id": f"{n:02}.png", "width": 120, "height": 100, "faces": faces,
                     "reason": None, "review": states.get(n)})  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("state", [None, "not looked at"])
def test_labels_of_a_detector_are_refused(
    source: Path, detections: Path, tmp_path: Path, state: str | None
) -> None:
    states = {n: state for n in range(30) if state}
    labels = decide(tmp_path / "labels.parquet", {}, states)
    with pytest.raises(DataError, match=r"every box in .* is a detector's, and a person looked at"):
        evaluate(source, labels, detections=detections, quiet=True)


@pytest.mark.parametrize(
    ("decided", "states", "unseen"),
    [
        ({0: "person", 1: "file"}, {}, 27),
        ({}, dict.fromkeys(range(10), "reviewed"), 19),
        ({}, {28: "sampled"}, 28),
        (dict.fromkeys(range(25), "file"), {}, 0),
    ],
)
def test_labels_that_people_decided_in_part_are_counted(
    source: Path, detections: Path, tmp_path: Path, decided: dict[int, str],
    states: dict[int, str], unseen: int, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    labels = decide(tmp_path / "labels.parquet", decided, states)
    report = evaluate(source, labels, detections=detections)
    assert check_schema(report)["images"]["by_detector"] == unseen
    said = f"Labels of {unseen:,} of these images are a detector's"
    assert (said in report.to_text()) == (said in html.unescape(report.to_html())) == bool(unseen)
    assert ("nobody looked at" in capsys.readouterr().err) == bool(unseen)


def test_an_export_and_a_manifest_of_a_detector_are_refused_as_labels(
    source: Path, detections: Path, tmp_path: Path
) -> None:
    curate.detect(source, tmp_path / "found.parquet", exports="coco", quiet=True)
    exported = next(tmp_path.glob("found*.json"))
    for labels in (tmp_path / "found.parquet", exported):
        with pytest.raises(DataError, match="is a detector's"):
            evaluate(source, labels, detections=detections, quiet=True)


def test_the_report_names_the_evaluated_images(source: Path, truth: Path, detections: Path) -> None:
    report = check_schema(evaluate(source, truth, detections=detections, quiet=True))
    evaluated = [source / f"{n:02}.png" for n in range(27) if n != 24]
    digests = {hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in evaluated}
    assert report["source"]["images"] == len(evaluated)
    assert report["source"]["sample"] == sorted(digests)


def test_the_report_has_inputs_and_measures(source: Path, truth: Path, detections: Path) -> None:
    report = check_schema(evaluate(source, truth, detections=detections, sweep=True))
    assert report["images"] == {
        "labeled": 28,
        "not_in_source": 1,
        "not_labeled": 3,
        "groups": None,
        "evaluated": 26,
        "by_detector": 0,
        "withheld": {"images": 1, "faces": 1, "reasons": {"truncated": 1}},
    }
    assert report["faces"]["counted"] == 24
    assert report["overall"]["hidden"]["hits"] == 18
    groups = {each["name"]: each for each in report["by"]["tone"]["groups"]}
    assert groups["I"]["measures"]["recall_50"]["value"] == 1.0
    assert groups["VI"]["measures"]["recall_50"]["value"] == 0.5
    gap = report["by"]["tone"]["gaps"][0]
    assert (gap["group"], gap["against"], gap["difference"]) == ("I", "VI", 0.5)
    assert report["face_free"]["with_box"]["hits"] == 1
    assert report["sweep"]["by"]["tone"]["group_thresholds"][1]["threshold"] is None


def test_the_report_is_complete_without_a_sweep_and_without_detections(
    source: Path, tmp_path: Path
) -> None:
    faces = [{"file": "00.png", "faces": [{"xyxy": [1, 1, 5, 5]}]}]
    nothing = label(tmp_path / "nothing.json", [{"file": "00.png", "faces": []}])
    result = evaluate(source, label(tmp_path / "truth.json", faces), detections=nothing)
    report = check_schema(result)
    assert report["overall"]["hidden"]["value"] is None
    assert report["faces"] == {"counted": 0, "ignored": 0, "too_small": 1}
    assert "Detector evaluation" in result.to_html()
    check_page(result.to_html("photos"), "photos")


def test_a_table_of_groups_joins_the_labels(
    source: Path, truth: Path, detections: Path, tmp_path: Path
) -> None:
    table = tmp_path / "groups.csv"
    lines = [f"{n:02}.png,{'north' if n < 12 else 'south'}" for n in range(20)]
    table.write_text("\n".join(["id,place", *lines, "elsewhere.png,west"]))
    report = check_schema(evaluate(source, truth, groups=table, detections=detections))
    assert report["images"]["groups"] == {"lines": 21, "matched": 20}
    assert set(report["by"]) == {"tone", "place"}
    assert report["by"]["place"]["unlabeled"] == 4
    only = evaluate(source, truth, groups=str(table), detections=detections, by="place")
    assert set(only.to_dict()["by"]) == {"place"}
    frame = pd.read_csv(table)
    again = check_schema(evaluate(source, truth, groups=frame, detections=detections))
    assert (pop_origin(report)[1], pop_origin(again)[1]) == (False, True)
    assert again == report


def test_labels_for_an_image_of_another_size_are_excluded(
    source: Path, detections: Path, tmp_path: Path
) -> None:
    images = [
        {"file": "00.png", "width": 240, "height": 200, "faces": [{"xyxy": BOX}]},
        {"file": "01.png", "width": 120, "height": 100, "faces": [{"xyxy": BOX}]},
    ]
    truth = label(tmp_path / "t.json", images)
    report = evaluate(source, truth, detections=detections).to_dict()
    assert report["images"]["withheld"]["reasons"] == {"other-size": 1}
    assert report["faces"]["counted"] == 1


def test_unusable_inputs_are_clear_errors(
    source: Path, truth: Path, detections: Path, tmp_path: Path
) -> None:
    absent = label(tmp_path / "absent.json", [{"file": "x/00.png", "faces": []}])
    with pytest.raises(DataError, match="none of the 1 images"):
        evaluate(source, absent, detections=detections)
    with pytest.raises(DataError, match="not-looked-at"):
        evaluate(source, truth, detections=absent)
    with pytest.raises(UsageError, match="choose one of: tone"):
        evaluate(source, truth, detections=detections, by=("age",))
    table = tmp_path / "groups.csv"
    table.write_text("id,tone\n00.png,I\n")
    with pytest.raises(UsageError, match="both have 'tone'"):
        evaluate(source, truth, detections=detections, groups=table)
    table.write_text("id,tone\nx.png,I\n")
    with pytest.raises(DataError, match="none of the 1 ids"):
        evaluate(source, truth, detections=detections, groups=table)


def test_options_are_checked_before_the_detector_runs(source: Path, truth: Path) -> None:
    """No detections are given, and no detector is opened."""
    with pytest.raises(UsageError, match="no labeled face has the attribute 'age'"):
        evaluate(source, truth, by=("age",))
    with pytest.raises(UsageError, match="min-height"):
        evaluate(source, truth, min_height=-1)


def test_misses_are_sorted_by_height_and_shown_only_on_request(
    source: Path, truth: Path, detections: Path
) -> None:
    result = evaluate(source, truth, detections=detections)
    assert [miss.id for miss in result.misses] == [f"{n:02}.png" for n in (2, 6, 10, 14, 18, 22)]
    assert "data:image" not in result.to_html()
    pictures = picture_misses(source, "auto", result.misses)
    assert len(pictures) == 6
    assert pictures[0].caption == "02.png: 30 px high, 0 % hidden"
    page = replace(result, pictures=pictures).to_html()
    assert page.count("data:image/jpeg") == 6
    assert "do not share it" in page


def test_the_margin_decides_what_is_hidden(source: Path, truth: Path, tmp_path: Path) -> None:
    inner = [14.0, 14.0, 36.0, 36.0]  # 54 % of the face; grown by 0.2 all of it
    found = label(
        tmp_path / "found.json",
        [{"file": f"{n:02}.png", "faces": [{"xyxy": inner}]} for n in range(27)],
    )
    for margin, hits in ((0.0, 0), (0.2, 25)):
        report = evaluate(source, truth, detections=found, margin=margin).to_dict()
        assert report["overall"]["hidden"]["hits"] == hits


@pytest.mark.data
def test_real_faces_are_found_and_the_sweep_runs_from_a_low_confidence(
    shared_data: Path, tmp_path: Path
) -> None:
    labels = json.loads((shared_data / "facemask/faces.json").read_text())[:12]
    folder = tmp_path / "source/images"
    folder.mkdir(parents=True)
    for each in labels:
        (folder.parent / each["file"]).write_bytes(
            (shared_data / "facemask" / each["file"]).read_bytes()
        )
    truth = label(tmp_path / "t.json", labels)
    result = evaluate(folder.parent, truth, sweep=True, min_height=16, profile="fast", workers=1)
    report = check_schema(result)
    assert report["overall"]["hidden"]["value"] > 0.8
    assert report["recipe"]["profile"] == "fast"
    assert report["detectors"]
    assert report["sweep"]["curves"]["30"]["confidence"][-1] < 0.1


def test_the_result_prints_and_gives_a_table(source: Path, truth: Path, detections: Path) -> None:
    result = evaluate(source, truth, detections=detections)
    assert repr(result).startswith("<Evaluation of 24 labeled faces: recall_30 75.0 %")
    text = result.to_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "26 labeled images, 1 withheld; 1 not in SOURCE." in text
    frame = result.to_frame().set_index(["grouping", "group", "measure"])
    assert frame.loc[("tone", "VI", "hidden"), "value"] == 0.5
    assert result._repr_html_().count("<table>") > 1
    assert "<pre>" not in result._repr_html_()
