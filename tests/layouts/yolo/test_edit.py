from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.affine import Affine, identity
from curate.core.errors import DataError
from curate.layouts.editing import GeneratedImage, Outcome
from curate.layouts.yolo.config import Config
from curate.layouts.yolo.edit import move_line
from tests.core.test_affine import mirror, turn
from tests.layouts.editing.outputs import Plan, edit, plan_for
from tests.layouts.examples.example import jpeg, write
from tests.layouts.examples.yolo import EXAMPLE

WIDTH, HEIGHT = 48, 40
POSE = Config(keypoints=6, dimensions=3, flips=(1, 0))


def move(line: str, affine: Affine, config: Config = Config()) -> str | None:  # noqa: B008
    return move_line(line, GeneratedImage("a", affine, WIDTH, HEIGHT), config, "a.txt, line 1")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    EXAMPLE.build(tmp_path / "source")
    return tmp_path / "source"


def test_a_mirror_image_has_mirrored_boxes_and_outlines() -> None:
    flip = mirror(WIDTH, HEIGHT)
    assert move("3 0.25 0.5 0.5 1", flip) == "3 0.75 0.5 0.5 1"
    assert move("0 0.1 0.1 0.5 0.1 0.5 1.0", flip) is not None
    outline = move("0 0.1 0.1 0.5 0.1 0.5 1.0", flip)
    assert outline is not None
    points = np.reshape([float(text) for text in outline.split()[1:]], (-1, 2))
    assert sorted(points.tolist()) == [[0.5, 0.1], [0.5, 1.0], [0.9, 0.1]]


def test_relative_coordinates_refer_to_the_generated_image() -> None:
    crop = Affine(((1.0, 0.0, -12.0), (0.0, 1.0, 0.0)), 24, 20)
    assert move("0 0.5 0.25 0.25 0.5", crop) == "0 0.5 0.5 0.5 1"
    assert move("0 0.1 0.1 0.1 0.1", crop) is None
    assert move("0 0 0 0.1 0 0.1 0.1", crop) is None


def test_keypoints_are_swapped_in_a_mirror() -> None:
    line = "0 0.5 0.5 0.5 0.5 0.25 0.5 2 0 0 0"
    assert move(line, mirror(WIDTH, HEIGHT), POSE) == "0 0.5 0.5 0.5 0.5 0 0 0 0.75 0.5 2"
    assert move("0 0.5 0.5 0.5 0.5", mirror(WIDTH, HEIGHT), POSE) == "0 0.5 0.5 0.5 0.5"
    flat = Config(keypoints=4, dimensions=2, flips=(0, 1))
    assert move("0 .5 .5 .5 .5 .25 .5 0 0", mirror(WIDTH, HEIGHT), flat) == (
        "0 0.5 0.5 0.5 0.5 0.75 0.5 0 0"
    )
    away = Affine(((1.0, 0.0, -24.0), (0.0, 1.0, 0.0)), WIDTH, HEIGHT)
    assert move("0 0.5 0.5 0.5 0.5 0.25 0.5 2 0.75 0.5 1", away, POSE) == (
        "0 0.125 0.5 0.25 0.5 0 0 0 0.25 0.5 1"
    )


def test_keypoints_without_flip_idx_are_refused_in_a_mirror_only() -> None:
    bare = Config(keypoints=6, dimensions=3)
    line = "0 0.5 0.5 0.5 0.5 0.25 0.5 2 0 0 0"
    with pytest.raises(DataError, match=r"a\.txt, line 1 has keypoints, and data\.yaml has no fl"):
        move(line, mirror(WIDTH, HEIGHT), bare)
    assert move(line, turn(180, WIDTH, HEIGHT), bare) is not None


@given(*[st.integers(0, 16)] * 4)
def test_a_mirror_image_of_a_mirror_image_is_the_image(x: int, y: int, w: int, h: int) -> None:
    values = ((x + w / 2 + 1) / 48, (y + h / 2 + 1) / 40, (w + 1) / 48, (h + 1) / 40)
    line = " ".join(["0", *(f"{value:.8f}".rstrip("0").rstrip(".") for value in values)])
    once = move(line, mirror(WIDTH, HEIGHT))
    assert once is not None
    twice = move(once, mirror(WIDTH, HEIGHT))
    assert twice is not None
    np.testing.assert_allclose(
        [float(v) for v in twice.split()], [float(v) for v in line.split()], atol=2e-8
    )


def test_lists_and_labels_are_edited_together(root: Path, tmp_path: Path) -> None:
    write(root, "labels/other/c.txt", "1 0.25 0.5 0.5 1\n\n0 0.5 0.5 0.1 0.1")
    plan, files = plan_for(root, {"images/other/c.jpg": [mirror(WIDTH, HEIGHT), None]})
    plan.removed = frozenset({"images/train/a.jpg"})
    out = tmp_path / "out"
    done = edit(root, out, plan, files)
    assert done.results["labels/train/a.txt"] is Outcome.DROPPED
    assert done.results["val.txt"] is Outcome.EDITED
    assert (out / "val.txt").read_text() == (
        "./images/other/c.jpg\n./images/other/c_aug1.jpg\n./images/other/c_aug2.jpg\n"
    )
    assert done.new == ["labels/other/c_aug1.txt", "labels/other/c_aug2.txt"]
    assert (out / done.new[0]).read_text() == "1 0.75 0.5 0.5 1\n\n0 0.5 0.5 0.1 0.1\n"
    assert (out / done.new[1]).read_bytes() == (root / "labels/other/c.txt").read_bytes()


def test_a_list_without_a_last_line_end_and_with_those_of_windows(
    root: Path, tmp_path: Path
) -> None:
    write(root, "images/other/d.jpg", jpeg(5))
    write(root, "val.txt", "images/other/d.jpg\r\n\r\nimages/other/c.jpg")
    plan, files = plan_for(root, {f"images/other/{name}.jpg": [None] for name in "cd"})
    edit(root, tmp_path / "out", plan, files)
    assert (tmp_path / "out/val.txt").read_bytes() == (
        b"images/other/d.jpg\r\nimages/other/d_aug1.jpg\r\n\r\n"
        b"images/other/c.jpg\r\nimages/other/c_aug1.jpg\r\n"
    )


def test_an_image_without_a_label_gets_none(root: Path, tmp_path: Path) -> None:
    (root / "labels/other/c.txt").unlink()
    plan, files = plan_for(root, {"images/other/c.jpg": [mirror(WIDTH, HEIGHT)]})
    assert edit(root, tmp_path / "out", plan, files).new == []


def test_a_text_of_classes_is_no_label(root: Path, tmp_path: Path) -> None:
    write(root, "labels/train/classes.txt", "dog\ncat\n")
    write(root, "notes.txt", "a.jpg is blurred\n")
    done = edit(root, tmp_path / "out", Plan(removed=frozenset({"images/train/a.jpg"})))
    assert done.results["labels/train/classes.txt"] is Outcome.SAME
    assert done.results["notes.txt"] is Outcome.EDITED  # a list that named the removed image
    assert (tmp_path / "out/notes.txt").read_bytes() == b""
    assert done.notes == {}


def test_flip_idx_that_is_not_a_permutation_is_refused(root: Path) -> None:
    from curate.layouts import open_source

    text = (root / "data.yaml").read_text()
    for found in ("[0, 0]", "[0]", "7"):
        write(root, "data.yaml", f"{text}kpt_shape: [2, 3]\nflip_idx: {found}\n")
        with pytest.raises(DataError, match="flip_idx does not name each of the 2 keypoints"):
            list(open_source(str(root)).check(strict=True))


def test_identity_on_a_turned_image_keeps_the_label(root: Path, tmp_path: Path) -> None:
    plan, files = plan_for(root, {"images/train/a.jpg": [identity(WIDTH, HEIGHT)]})
    done = edit(root, tmp_path / "out", plan, files)
    label = (tmp_path / "out" / done.new[0]).read_bytes()
    assert label == (root / "labels/train/a.txt").read_bytes()
