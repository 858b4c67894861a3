from __future__ import annotations

import ast
import hashlib
import importlib.util
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.geometry import Box

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        f"bench_{name}", SCRIPTS / "benchmarks" / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


boxes = load("boxes")
processes = load("processes")

FACE = Box(10, 10, 30, 30)
FAR = Box(100, 100, 130, 130)


def photo(*faces: Box, invalid: tuple[Box, ...] = ()) -> object:
    return boxes.LabelledPhoto("a.jpg", 200, 200, faces, invalid)


def answer(*claims: tuple[Box, float], hidden: tuple[Box, ...] = ()) -> object:
    return boxes.Answer(tuple(boxes.Claim(box, score) for box, score in claims), hidden)


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (0, 20, 0.0, 0.1611),
        (20, 20, 0.8389, 1.0),
        (6, 120, 0.0231, 0.1048),
    ],
)
def test_interval_is_wilsons(hits: int, total: int, low: float, high: float) -> None:
    assert boxes.Share(hits, total).interval == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_solves_the_score_equation(counts: tuple[int, int]) -> None:
    share = boxes.Share(*counts)
    for bound in share.interval:
        if 0 < bound < 1:
            distance = abs(share.value - bound) / math.sqrt(bound * (1 - bound) / share.total)
            assert distance == pytest.approx(1.959963984540054, rel=1e-6)


def test_a_share_of_nothing_says_nothing() -> None:
    share = boxes.Share(0, 0)
    assert math.isnan(share.value)
    assert share.interval == (0.0, 1.0)


def test_the_surest_box_takes_the_face_and_the_second_is_false() -> None:
    judged = boxes.judge(photo(FACE), answer((FACE, 0.3), (Box(11, 10, 30, 30), 0.9)))
    assert [face.found for face in judged.faces] == [True]
    assert [box.right for box in judged.boxes] == [True, False]
    assert boxes.summarise(judged).precision == boxes.Share(1, 2)


def test_a_box_takes_the_free_face_with_which_it_agrees_most() -> None:
    other = Box(14, 10, 34, 30)
    assert boxes.match([FACE, FACE], [other, FACE]) == [1, 0]


def test_boxes_match_from_an_iou_of_three_tenths() -> None:
    assert boxes.match([Box(0, 0, 3, 1)], [Box(0, 0, 10, 1)]) == [0]
    assert boxes.match([Box(0, 0, 2.99, 1)], [Box(0, 0, 10, 1)]) == [None]


def test_boxes_on_invalid_faces_count_neither_way() -> None:
    judged = boxes.judge(photo(FACE, invalid=(FAR,)), answer((FAR, 0.9), (FAR, 0.8)))
    scores = boxes.summarise(judged)
    assert scores.precision == boxes.Share(0, 0)
    assert scores.recall == boxes.Share(0, 1)


def test_an_invalid_label_does_not_excuse_a_match_with_a_face() -> None:
    judged = boxes.judge(photo(FACE, invalid=(FACE,)), answer((FACE, 0.9)))
    assert boxes.summarise(judged).precision == boxes.Share(1, 1)


def test_small_faces_are_not_asked_for_but_finding_them_is_right() -> None:
    small = Box(0, 0, 10, 15.9)
    scores = boxes.summarise(boxes.judge(photo(small), answer((small, 0.5))))
    assert scores.recall == boxes.Share(0, 0)
    assert scores.precision == boxes.Share(1, 1)


def test_sizes_are_the_labels_for_recall_and_the_boxes_own_for_precision() -> None:
    judged = boxes.judge(photo(Box(0, 0, 20, 31)), answer((Box(0, 0, 20, 33), 0.5)))
    assert boxes.summarise(judged, 16, 32).recall == boxes.Share(1, 1)
    assert boxes.summarise(judged, 16, 32).precision == boxes.Share(0, 0)
    assert boxes.summarise(judged, 32, 64).precision == boxes.Share(1, 1)


@pytest.mark.parametrize(("right", "hidden"), [(26.0, True), (25.9, False)])
def test_a_face_is_hidden_from_eighty_per_cent(right: float, hidden: bool) -> None:
    judged = boxes.judge(photo(FACE), answer(hidden=(Box(0, 0, right, 40),)))
    assert boxes.summarise(judged).hidden == boxes.Share(int(hidden), 1)


def test_regions_hide_together_what_none_hides_alone() -> None:
    halves = (Box(0, 0, 20, 40), Box(18, 0, 40, 40))
    assert boxes.share_inside(FACE, halves) == pytest.approx(1.0)
    assert boxes.share_inside(FACE, halves[:1]) == pytest.approx(0.5)


def test_only_the_part_of_a_face_inside_the_photo_must_be_hidden() -> None:
    label = Box(-20, 0, 20, 20)
    judged = boxes.judge(photo(label), answer(hidden=(Box(0, 0, 20, 20),)))
    assert judged.faces[0].hidden == pytest.approx(1.0)


def test_photos_add_up() -> None:
    judged = boxes.judge(photo(FACE), answer((FACE, 0.5)))
    judged += boxes.judge(photo(FAR), answer())
    assert boxes.summarise(judged).recall == boxes.Share(1, 2)


@st.composite
def whole_boxes(draw: st.DrawFn) -> Box:
    x0, y0 = draw(st.integers(0, 18)), draw(st.integers(0, 18))
    return Box(x0, y0, draw(st.integers(x0 + 1, 20)), draw(st.integers(y0 + 1, 20)))


@given(whole_boxes(), st.lists(whole_boxes(), max_size=5))
def test_the_share_inside_a_union_is_a_count_of_pixels(box: Box, regions: list[Box]) -> None:
    inside = np.zeros((20, 20), dtype=bool)
    for region in regions:
        inside[region.slices] = True
    assert boxes.share_inside(box, regions) == pytest.approx(inside[box.slices].mean())


def test_memory_and_time_of_descendants_count() -> None:
    child = "x = bytearray(90 << 20); import time; time.sleep(0.4)"
    parent = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    )
    usage = processes.measure([sys.executable, "-c", parent])
    assert 90 < usage.worker_mb < 150
    assert usage.main_mb < 60
    assert usage.peak_mb == usage.worker_mb
    assert usage.together_mb > usage.worker_mb
    assert 0 < usage.cpu_seconds < 10


def test_a_command_that_fails_is_no_measurement() -> None:
    failing = [sys.executable, "-c", "import sys; print('no such thing', file=sys.stderr); exit(7)"]
    with pytest.raises(processes.BenchError, match=r"ended with 7: no such thing"):
        processes.measure(failing)
    assert processes.measure(failing, accept=(0, 7)).seconds > 0


def test_without_the_photos_it_says_so_in_one_line(tmp_path: Path) -> None:
    if Path(sys.prefix) != SCRIPTS.parent / ".venv":
        pytest.skip("scripts/bench runs in the project's .venv, which this is not")
    done = subprocess.run(
        [sys.executable, SCRIPTS / "bench", "--data", tmp_path / "none"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "--data" in done.stderr


def test_held_out_photos_are_those_that_the_verifier_was_not_trained_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    photos = load("photos")
    tree = ast.parse((SCRIPTS / "train_verifier").read_text(encoding="utf-8"))
    function = next(n for n in tree.body if getattr(n, "name", None) == "name_hash")
    scope: dict[str, Any] = {"hashlib": hashlib}
    exec(compile(ast.Module([function], []), "train_verifier", "exec"), scope)  # noqa: S102
    names = [f"{number}_Parade_{number}.jpg" for number in range(50)]
    held_out = [photos.is_held_out(f"wider/images/{name}") for name in names]
    assert held_out == [scope["name_hash"](name) % 2 == 1 for name in names]
    assert 10 < sum(held_out) < 40
