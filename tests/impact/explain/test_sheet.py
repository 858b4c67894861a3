from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from curate.impact.explain.measure import Explained, Measured, Prediction, Shares
from curate.impact.explain.sheet import Sheet, average_inside, draw_sheet, overlay

RANDOM = np.random.default_rng(0)
OBFUSCATED = np.full((40, 40, 3), 120, np.uint8)
ORIGINAL = RANDOM.integers(0, 256, size=(40, 40, 3)).astype(np.uint8)
COVERAGE = np.zeros((40, 40))
COVERAGE[10:20, 5:18] = 1
MAP = RANDOM.uniform(0, 1, size=(40, 40))
SHARES = Shares(0.08, 0.4, float("nan"), 0.1, 0.1)


def draw(original: np.ndarray, values: np.ndarray, hide: bool = True) -> Sheet:
    found = Explained(
        "a/1.jpg",
        "a",
        1,
        0.08,
        0.6,
        Prediction(0, "cat", 0.7),
        Prediction(1, "dog", 0.5),
        {"lrp": Measured(SHARES, (MAP.ravel(), MAP.ravel()))},
    )
    maps = {"lrp": (values, MAP)}
    return draw_sheet((original, OBFUSCATED), COVERAGE, maps, {"lrp": "LRP"}, found, hide=hide)


def test_hidden_sheet_does_not_depend_on_faces() -> None:
    sheet = draw(ORIGINAL, MAP)
    assert sheet == draw(255 - ORIGINAL, MAP)
    inside = COVERAGE > 0
    other = MAP.copy()
    other[inside] = RANDOM.permutation(MAP[inside])
    assert (other != MAP).any()
    assert sheet == draw(ORIGINAL, other)
    assert draw(ORIGINAL, MAP, hide=False) != draw(ORIGINAL, other, hide=False)
    assert draw(ORIGINAL, MAP, hide=False) != draw(255 - ORIGINAL, MAP, hide=False)


def test_map_is_averaged_inside_each_face() -> None:
    inside = COVERAGE > 0
    inside[30:34, 30:34] = True
    values = MAP - 0.3
    found = average_inside(values, inside)
    positive = np.maximum(values, 0)
    np.testing.assert_array_equal(found[~inside], positive[~inside])
    assert len(np.unique(found[inside])) == 2
    assert found.sum() == pytest.approx(positive.sum())


def test_sheet_text() -> None:
    sheet = draw(ORIGINAL, MAP)
    assert sheet.text == (
        "a/1.jpg, class a. Predicted cat (70 %) before and dog (50 %) after. "
        "1 face on 8.0 % of the model's input."
    )
    assert [picture.caption for picture in sheet.pictures] == [
        "obfuscated; at the right with the regions of faces",
        "LRP: 40 % on faces before, none after",
    ]


def test_original_and_obfuscated_are_side_by_side() -> None:
    picture = Image.open(io.BytesIO(draw(ORIGINAL, MAP).pictures[1].jpeg))
    assert picture.width == pytest.approx(2.05 * picture.height, rel=0.02)


def test_overlay_lightness_increases_with_attribution() -> None:
    values = np.zeros((80, 8))
    values[:10] = np.linspace(0, 1, 8)
    drawn = overlay(np.full((80, 8, 3), 90, np.uint8), values)
    assert (drawn[20:] == 90).all()
    assert (np.diff(drawn[0].astype(int).sum(axis=1)[2:]) > 0).all()
    assert (overlay(OBFUSCATED, np.zeros((40, 40))) == 120).all()
