from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import DataError
from curate.core.faces import Detection
from curate.core.geometry import Box
from curate.evaluation.detections import load_detections

BOX = [1.0, 2.0, 3.0, 4.0]


def test_a_table_has_detections_and_withheld_images(tmp_path: Path) -> None:
    faces = [{"xyxy": BOX, "confidence": 0.5, "detectors": ["a", "b"]}]
    rows = [
        {"id": "a", "outcome": "written", "reason": None, "width": 5, "height": 6, "faces": faces},
        {"id": "b", "outcome": "withheld", "reason": "truncated: it ends", "faces": []},
        {"id": "c", "outcome": "written", "reason": None, "faces": None},
    ]
    path = tmp_path / "faces.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    read = load_detections(path)
    assert read.found == {"a": (Detection(Box(1, 2, 3, 4), 0.5, "a+b"),)}
    assert read.sizes == {"a": (5, 6)}
    assert read.withheld == {"b": "truncated: it ends"}


def test_coco_results_have_scores(tmp_path: Path) -> None:
    path = tmp_path / "faces.json"
    annotations = [{"image_id": 1, "bbox": [1, 2, 2, 2], "score": score} for score in (0.25, 0.75)]
    images = [{"id": 1, "file_name": "a"}, {"id": 2, "file_name": "b"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    found = load_detections(path).found
    assert [each.confidence for each in found["a"]] == [0.25, 0.75]
    assert found["b"] == ()


def test_a_box_without_a_confidence_is_certain_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "faces.json"
    path.write_text(json.dumps([{"file": "a", "faces": [{"xyxy": BOX}]}]))
    assert load_detections(path).found["a"][0].confidence == 1.0
    path.write_text(json.dumps([{"file": "a", "faces": [{"xyxy": BOX, "confidence": "high"}]}]))
    with pytest.raises(DataError, match="a confidence is 'high'"):
        load_detections(path)
