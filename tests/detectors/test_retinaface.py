from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curate.core.errors import UsageError, WeightsError
from curate.detectors import DetectorOptions, make_detector
from curate.detectors.retinaface import ANCHORS, WEIGHTS, RetinaFace, build, decode
from curate.detectors.weights import Weights, find_weights
from tests.detectors.pictures import astronaut, crowd


def anchors_of(height: int, width: int) -> int:
    return sum(len(sides) * -(-height // s) * -(-width // s) for s, sides in ANCHORS)


def test_an_anchor_without_offsets_is_its_box() -> None:
    count = anchors_of(64, 96)
    offsets, scores = np.zeros((1, count, 4), np.float32), np.zeros((1, count, 2), np.float32)
    second_row = (96 // 8) * 2  # two anchors for each place of the first level
    scores[0, second_row + 3, 1] = 0.75  # second place, second size
    found = decode([offsets, scores], 0, (64, 96), 0.5)
    assert found.boxes.tolist() == [[12 - 16, 12 - 16, 12 + 16, 12 + 16]]
    assert found.scores.tolist() == [0.75]


def test_offsets_move_and_stretch_the_anchor() -> None:
    count = anchors_of(32, 32)
    offsets, scores = np.zeros((1, count, 4), np.float32), np.zeros((1, count, 2), np.float32)
    scores[0, -1, 1] = 1.0  # the single place of the last level, side 512
    offsets[0, -1] = [0.5, -0.25, 5 * np.log(0.5), 5 * np.log(0.25)]
    found = decode([offsets, scores], 0, (32, 32), 0.5)
    x, y = 16 + 512 * 0.05, 16 - 512 * 0.025
    assert found.boxes[0] == pytest.approx([x - 128, y - 64, x + 128, y + 64], rel=1e-6)


def test_every_face_of_a_crowd_is_found_in_its_place() -> None:
    found = build(DetectorOptions("retinaface")).detect(crowd(4, 3))
    corners = {(one.box.x0 // 170, one.box.y0 // 170) for one in found}
    assert len(found) == len(corners) == 12


def test_a_mirrored_portrait_has_a_mirrored_box() -> None:
    detector: RetinaFace = build(DetectorOptions("retinaface"))
    (found,) = detector.detect(astronaut())
    (mirrored,) = detector.detect(np.ascontiguousarray(astronaut()[:, ::-1]))
    assert mirrored.box.x0 == pytest.approx(512 - found.box.x1, abs=8)


def test_the_package_that_brings_the_weights_is_not_imported() -> None:
    code = (
        "import sys, curate.detectors as d; "
        "d.make_detector(d.DetectorOptions('retinaface', device='cpu')); "
        "print('retinaface' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_altered_weights_are_refused() -> None:
    with pytest.raises(WeightsError, match="not the expected file"):
        find_weights(replace(WEIGHTS, sha256={"weights.py": "0" * 64}))


@pytest.mark.parametrize("text", ["WEIGHTS = open('x')", "WEIGHTS = 'text'", "WEIGHTS = b'", ""])
def test_a_weights_module_is_parsed_and_never_run(text: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.py"
    path.write_text(text)
    with pytest.raises(WeightsError, match=r"weights\.py"):
        Weights("some", "1", {"weights.py": path}, {}).read()


def test_it_runs_on_the_processor_only() -> None:
    with pytest.raises(UsageError, match="--device cpu"):
        make_detector(DetectorOptions("retinaface", device="cuda"))
