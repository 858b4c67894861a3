"""What is parsed of annotations, against what was written."""

from __future__ import annotations

import io
import json
import posixpath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import DataError
from curate.layouts.annotations import Problems, iter_lines, resolve
from curate.layouts.coco.parse import is_coco, iter_annotated
from curate.layouts.label_maps import is_panoptic_map
from curate.layouts.voc.parse import load_annotation
from curate.layouts.yolo.config import Config
from curate.layouts.yolo.read import check_line
from tests.layouts.examples.example import rgb_png

SHARES = st.floats(0, 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
IDS = st.integers(0, 2**53) | TEXT


@st.composite
def items(draw: st.DrawFn, *keys: str) -> dict[str, Any]:
    known = {key: draw(IDS if key != "file_name" else TEXT) for key in keys}
    unknown = draw(st.dictionaries(TEXT.map(lambda key: f"x{key}"), PLAIN, max_size=3))
    pairs = draw(st.permutations([*known.items(), *unknown.items()]))
    return dict(pairs)


@given(
    st.lists(items("id", "file_name"), max_size=4),
    st.lists(items("id", "image_id"), max_size=4),
    st.dictionaries(TEXT.map(lambda key: f"x{key}"), PLAIN, max_size=2),
    st.randoms(),
    st.booleans(),
)
def test_coco_gives_what_was_written_whatever_stands_around_it(
    images: list[Any], annotations: list[Any], more: dict[str, Any], draw: Any, pretty: bool
) -> None:
    pairs = [("images", images), ("annotations", annotations), *more.items()]
    draw.shuffle(pairs)
    data = json.dumps(dict(pairs), indent=2 if pretty else None, ensure_ascii=pretty).encode()
    found: dict[str, list[Any]] = {"images": [], "annotations": []}
    for item in iter_annotated(io.BytesIO(data), "x.json", Problems()):
        assert item.number == len(found[item.kind])
        found[item.kind].append(item.values)
    keys = {"id", "image_id", "file_name"}
    for kind, written in (("images", images), ("annotations", annotations)):
        assert found[kind] == [{k: v for k, v in one.items() if k in keys} for one in written]
    assert not images or is_coco(data)


@given(st.lists(items("id", "file_name"), min_size=1, max_size=3), st.data())
def test_a_coco_that_is_cut_off_anywhere_is_an_error(
    images: list[Any], data: st.DataObject
) -> None:
    whole = json.dumps({"images": images}).encode()
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DataError, match=r"^x\.json"):
        list(iter_annotated(io.BytesIO(whole[:end]), "x.json", Problems()))


@given(st.integers(0, 79), st.lists(SHARES, min_size=4, max_size=4) | st.integers(3, 9).flatmap(
    lambda points: st.lists(SHARES, min_size=2 * points, max_size=2 * points)
))  # fmt: skip
def test_boxes_and_polygons_are_accepted_as_they_are_written(
    number: int, values: list[float]
) -> None:
    line = " ".join([str(number), *(f"{value:.6f}" for value in values)])
    check_line(line, "x", Config(classes=80))
    check_line(" ".join([f"{number}.0", *map(repr, values)]), "x", Config())


@given(st.text(min_size=1).filter(lambda text: text.split()))
def test_a_line_of_a_label_is_sound_or_an_error(line: str) -> None:
    try:
        check_line(line, "x", Config(classes=3))
    except DataError:
        return
    number, *values = map(float, line.split())
    assert number < 3
    assert all(-1e-5 < value < 1.00001 for value in values)


@given(TEXT, st.text("ab./\\~:\0 ", max_size=12))
def test_a_path_stays_in_its_folder_or_is_an_error(base: str, value: str) -> None:
    base = base.strip("./\0") or "base"
    try:
        path = resolve(base, value, "x")
    except DataError:
        return
    assert not path.startswith("/")
    assert ".." not in path.split("/") or ".." in base.split("/")
    assert posixpath.normpath(path) == path
    assert path.startswith(posixpath.normpath(base)) or posixpath.normpath(base) == "."


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]))))
def test_lines_are_what_was_written(lines: list[str]) -> None:
    data = "".join(f"{line}\n" for line in ("first", *lines)).encode()
    read = [text for _, text in iter_lines(io.BytesIO(b"\xef\xbb\xbf" + data), "x")]
    assert read == ["first", *lines]


@given(st.binary(max_size=200))
def test_an_xml_is_sound_or_an_error(data: bytes) -> None:
    for whole in (data, b"<annotation>" + data + b"</annotation>"):
        with pytest.raises(DataError, match=r"^x\.xml"):
            load_annotation(io.BytesIO(whole), "x.xml")


@given(st.sets(st.integers(1, 2**24 - 1), min_size=1, max_size=5), st.randoms())
def test_a_panoptic_map_of_any_ids_is_proven_and_one_foreign_pixel_is_seen(
    ids: set[int], draw: Any
) -> None:
    regions = np.array([draw.choice([0, *ids]) for _ in range(12)]).reshape(3, 4)
    numbers = np.kron(regions, np.ones((16, 16), dtype=np.int64))  # flat, as of a label map

    def encode(values: Any) -> bytes:
        channels = [values & 255, values >> 8 & 255, values >> 16]
        return rgb_png(np.stack(channels, axis=2).astype(np.uint8))

    areas = {number: int((numbers == number).sum()) for number in ids}
    assert is_panoptic_map(encode(numbers), areas, (64, 48))
    assert not is_panoptic_map(encode(numbers), areas, (48, 64))
    some = next(iter(ids))
    for area in (areas[some] + 1, None):
        assert not is_panoptic_map(encode(numbers), {**areas, some: area}, (64, 48))
    foreign = next(number for number in range(1, 9) if number not in ids)
    numbers[draw.randrange(48), draw.randrange(64)] = foreign
    assert not is_panoptic_map(encode(numbers), areas, (64, 48))
