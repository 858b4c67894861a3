from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate.core.errors import DataError, UsageError
from curate.evaluation.page import make_page
from curate.evaluation.run import Answer, Question, evaluate_detector, picture_misses
from curate.report.page import render_page
from tests.conftest import ROOT

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
    """Tone I is always found; of VI every other one is; 26 has a false box; 24 was withheld."""
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


def check_schema(answer: Answer) -> dict[str, Any]:
    report = json.loads(json.dumps(answer.to_dict(), allow_nan=False))
    schema = json.loads((ROOT / "manifests/evaluate-1.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(report, schema)
    assert isinstance(report, dict)
    return report


def test_the_report_says_what_was_compared_and_what_came_of_it(
    source: Path, truth: Path, detections: Path
) -> None:
    question = Question(truth=truth, detections=detections, sweep=True)
    report = check_schema(evaluate_detector(source, question))
    assert report["images"] == {
        "labelled": 28,
        "not_in_source": 1,
        "not_labelled": 3,
        "groups": None,
        "evaluated": 26,
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
    assert report["sweep"]["by"]["tone"]["equalisers"][1]["threshold"] is None


def test_without_a_sweep_and_with_nothing_found_the_report_is_whole(
    source: Path, tmp_path: Path
) -> None:
    faces = [{"file": "00.png", "faces": [{"xyxy": [1, 1, 5, 5]}]}]
    nothing = label(tmp_path / "nothing.json", [{"file": "00.png", "faces": []}])
    question = Question(truth=label(tmp_path / "truth.json", faces), detections=nothing)
    answer = evaluate_detector(source, question)
    report = check_schema(answer)
    assert report["overall"]["hidden"]["value"] is None
    assert report["faces"] == {"counted": 0, "ignored": 0, "too_small": 1}
    assert "Does the detector" in render_page(make_page(answer))


def test_a_table_of_groups_joins_the_labels(
    source: Path, truth: Path, detections: Path, tmp_path: Path
) -> None:
    table = tmp_path / "groups.csv"
    lines = [f"{n:02}.png,{'north' if n < 12 else 'south'}" for n in range(20)]
    table.write_text("\n".join(["id,place", *lines, "elsewhere.png,west"]))
    question = Question(truth=truth, groups=table, detections=detections)
    report = check_schema(evaluate_detector(source, question))
    assert report["images"]["groups"] == {"lines": 21, "matched": 20}
    assert set(report["by"]) == {"tone", "place"}
    assert report["by"]["place"]["unlabelled"] == 4
    only = Question(truth=truth, groups=table, detections=detections, by=("place",))
    assert set(evaluate_detector(source, only).to_dict()["by"]) == {"place"}


def test_labels_for_an_image_of_another_size_are_part_of_no_figure(
    source: Path, detections: Path, tmp_path: Path
) -> None:
    images = [
        {"file": "00.png", "width": 240, "height": 200, "faces": [{"xyxy": BOX}]},
        {"file": "01.png", "width": 120, "height": 100, "faces": [{"xyxy": BOX}]},
    ]
    question = Question(truth=label(tmp_path / "t.json", images), detections=detections)
    report = evaluate_detector(source, question).to_dict()
    assert report["images"]["withheld"]["reasons"] == {"other-size": 1}
    assert report["faces"]["counted"] == 1


def test_what_cannot_be_compared_is_one_clear_line(
    source: Path, truth: Path, detections: Path, tmp_path: Path
) -> None:
    absent = label(tmp_path / "absent.json", [{"file": "x/00.png", "faces": []}])
    with pytest.raises(DataError, match="none of the 1 images"):
        evaluate_detector(source, Question(truth=absent, detections=detections))
    with pytest.raises(DataError, match="not-looked-at"):
        evaluate_detector(source, Question(truth=truth, detections=absent))
    with pytest.raises(UsageError, match="there are: tone"):
        evaluate_detector(source, Question(truth=truth, detections=detections, by=("age",)))
    table = tmp_path / "groups.csv"
    table.write_text("id,tone\n00.png,I\n")
    with pytest.raises(UsageError, match="both have 'tone'"):
        evaluate_detector(source, Question(truth=truth, detections=detections, groups=table))
    table.write_text("id,tone\nx.png,I\n")
    with pytest.raises(DataError, match="none of the 1 ids"):
        evaluate_detector(source, Question(truth=truth, detections=detections, groups=table))


def test_the_request_is_looked_over_before_the_detector_runs(source: Path, truth: Path) -> None:
    """No detections are given, and yet no detector is opened."""
    with pytest.raises(UsageError, match="no face that counts has the attribute 'age'"):
        evaluate_detector(source, Question(truth=truth, by=("age",)))
    with pytest.raises(UsageError, match="least-height"):
        evaluate_detector(source, Question(truth=truth, least_height=-1))


def test_misses_come_highest_first_and_as_pictures_only_on_request(
    source: Path, truth: Path, detections: Path
) -> None:
    answer = evaluate_detector(source, Question(truth=truth, detections=detections))
    assert [miss.id for miss in answer.misses] == [f"{n:02}.png" for n in (2, 6, 10, 14, 18, 22)]
    assert "data:image" not in render_page(make_page(answer))
    pictures = picture_misses(source, "auto", answer.misses)
    assert len(pictures) == 6
    assert pictures[0].caption == "02.png: 30 px high, 0 % hidden"
    page = render_page(make_page(answer, pictures))
    assert page.count("data:image/jpeg") == 6
    assert "give nobody else a copy" in page


def test_the_margin_decides_what_is_hidden(source: Path, truth: Path, tmp_path: Path) -> None:
    from curate import Recipe

    inner = [14.0, 14.0, 36.0, 36.0]  # 54 % of the face; grown by 0.2 all of it
    found = label(
        tmp_path / "found.json",
        [{"file": f"{n:02}.png", "faces": [{"xyxy": inner}]} for n in range(27)],
    )
    question = Question(truth=truth, detections=found)
    for margin, hits in ((0.0, 0), (0.2, 25)):
        report = evaluate_detector(source, question, Recipe(margin=margin)).to_dict()
        assert report["overall"]["hidden"]["hits"] == hits


@pytest.mark.data
def test_real_faces_are_found_and_the_sweep_runs_from_a_low_confidence(
    shared_data: Path, tmp_path: Path
) -> None:
    from curate import Recipe, Session

    labels = json.loads((shared_data / "facemask/faces.json").read_text())[:12]
    folder = tmp_path / "source/images"
    folder.mkdir(parents=True)
    for each in labels:
        (folder.parent / each["file"]).write_bytes(
            (shared_data / "facemask" / each["file"]).read_bytes()
        )
    question = Question(truth=label(tmp_path / "t.json", labels), sweep=True, least_height=16)
    answer = evaluate_detector(folder.parent, question, Recipe(profile="fast"), Session(workers=1))
    report = check_schema(answer)
    assert report["overall"]["hidden"]["value"] > 0.8
    assert report["recipe"]["profile"] == "fast"
    assert report["detectors"]
    assert report["sweep"]["curves"]["30"]["confidence"][-1] < 0.1
