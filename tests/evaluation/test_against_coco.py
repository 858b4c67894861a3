"""The field's own evaluation as an oracle."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import pytest

from curate.core.faces import Detection, TruthFace, TruthImage
from curate.core.geometry import Box
from curate.evaluation.matching import Rules, match_image
from curate.evaluation.measure import measure

RULES = Rules(ious=(0.3, 0.5), min_height=0)
Scene = tuple[TruthImage, list[Detection]]


def draw_box(random: np.random.Generator, low: float = 8, high: float = 40) -> Box:
    x, y = random.uniform(0, 160, 2)
    w, h = random.uniform(low, high, 2)
    return Box(x, y, x + w, y + h)


def draw_scenes(random: np.random.Generator) -> list[Scene]:
    """Crowded images, so that matching has choices, and a crowd in each.

    COCO's own evaluation ignores nothing but crowds, whatever ``ignore`` says.
    """
    scenes = []
    for number in range(60):
        faces = [TruthFace(draw_box(random)) for _ in range(12)]
        faces.append(TruthFace(draw_box(random, 40, 80), ignore=True, crowd=True))
        detections = []
        for face in faces:
            for _ in range(random.integers(0, 3)):
                corners = np.array(face.box.xyxy) + random.normal(0, 3, 4)
                if corners[2] > corners[0] + 1 and corners[3] > corners[1] + 1:
                    box = Box(*map(float, corners))
                    detections.append(Detection(box, float(random.random()), "test"))
        detections += [
            Detection(draw_box(random), float(random.random()), "test") for _ in range(4)
        ]
        scenes.append((TruthImage(str(number), tuple(faces)), detections))
    return scenes


def bbox(box: Box) -> list[float]:
    return [box.x0, box.y0, box.width, box.height]


def evaluate_by_coco(scenes: list[Scene], iou: float) -> tuple[float, Any]:
    """Recall, and precision at 101 recalls."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    truth = coco.COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": n} for n in range(len(scenes))],
        "categories": [{"id": 1, "name": "face"}],
        "annotations": [
            {
                "id": 100 * n + place + 1, "image_id": n, "category_id": 1, "bbox": bbox(face.box),
                "area": face.box.area, "iscrowd": int(face.crowd),
            }
            for n, (image, _) in enumerate(scenes)
            for place, face in enumerate(image.faces)
        ],
    }  # fmt: skip
    truth.createIndex()
    found = truth.loadRes(
        [
            {"image_id": n, "category_id": 1, "bbox": bbox(each.box), "score": each.confidence}
            for n, (_, detections) in enumerate(scenes)
            for each in detections
        ]
    )
    evaluator = cocoeval.COCOeval(truth, found, "bbox")
    evaluator.params.iouThrs = np.array([iou])
    evaluator.params.maxDets = [1, 10, 1000]
    evaluator.evaluate()
    evaluator.accumulate()
    precision = evaluator.eval["precision"][0, :, 0, 0, -1]
    return float(evaluator.eval["recall"][0, 0, 0, -1]), precision


@pytest.mark.parametrize("iou", RULES.ious)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_recall_and_precision_equal_those_of_coco(iou: float, seed: int) -> None:
    scenes = draw_scenes(np.random.default_rng(seed))
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        recall, precision = evaluate_by_coco(scenes, iou)
    found = measure([match_image(truth, detections, RULES) for truth, detections in scenes], RULES)
    name = RULES.measures[RULES.ious.index(iou)]
    assert found.overall.measures[name].share.value == pytest.approx(recall)
    curve = found.curves[iou]
    ours = [
        curve.precision[curve.recall >= least].max(initial=0.0) for least in np.linspace(0, 1, 101)
    ]
    assert ours == pytest.approx(precision.tolist())
    area = found.average_precision[iou]
    assert area.coco == pytest.approx(precision.mean())
    assert area.value == pytest.approx(precision.mean(), abs=0.01)
    assert area.interval.low < area.value < area.interval.high
