"""Annotations are written again from parsed values, and no form of a picture is one of them."""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import quopri
import random
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate.core.errors import DataError
from curate.layouts import open_source
from curate.layouts.coco.geometry import format_counts
from curate.layouts.coco.rewrite import rewrite_coco
from curate.layouts.editing.sidecars import format_of_companion
from curate.layouts.rewriters import REWRITERS
from curate.layouts.sidecars.content import DROPPED_KINDS, Content, describe_drop_keys
from curate.layouts.sidecars.prose import MAX_TEXT
from curate.layouts.sidecars.table import rewrite_table
from curate.layouts.sidecars.values import Limits
from curate.layouts.voc.rewrite import rewrite_xml
from curate.layouts.yolo import rewrite as yolo_rewrite

Rewriter = Callable[..., None]


def picture() -> bytes:
    """A JPEG of 48 × 48 pixels."""
    file = io.BytesIO()
    Image.effect_noise((48, 48), 60).convert("RGB").save(file, "JPEG")
    return file.getvalue()


JPEG = picture()
BASE64 = base64.b64encode(JPEG).decode()
LINES = textwrap.wrap(BASE64, 76)
WAVE = [128 + 90 * math.sin(n / 7) + 20 * math.sin(n / 48) for n in range(48 * 48)]
PIXELS = [round(value) for value in WAVE]
PLACED = [(n % 48, n // 48, value) for n, value in enumerate(PIXELS)]
RECTANGLES = "".join(f'<rect x="{x}" y="{y}" fill="rgb({v},{v},{v})"/>' for x, y, v in PLACED)

DITHERED = [1 + (n * n * 7919 >> 3 & 1) for n in range(6000)]

DISGUISES: dict[str, Any] = {
    "base64": BASE64,
    "lines with a prefix": "\n".join(f"line {n}: {line}" for n, line in enumerate(LINES)),
    "a list of lines": LINES,
    "lines as keys": dict.fromkeys(LINES, 0),
    "words of base64": " ".join(textwrap.wrap(BASE64, 8)),
    "base32": " ".join(textwrap.wrap(base64.b32encode(JPEG).decode(), 8)),
    "base85": base64.b85encode(JPEG).decode(),
    "hexadecimal": JPEG.hex(),
    "hexadecimal with spaces": JPEG.hex(" "),
    "quoted-printable": quopri.encodestring(JPEG).decode(),
    "uuencode": "".join(binascii.b2a_uu(JPEG[n : n + 45]).decode() for n in range(0, 900, 45)),
    "Latin-1": JPEG.decode("latin-1"),
    "run lengths in base64": {"size": [480, 640], "counts": BASE64},
    "run lengths in hexadecimal": {"size": [48, 48], "counts": JPEG.hex()},
    "pixels as run lengths": {"size": [48, 48], "counts": PIXELS},
    "pixels": PIXELS,
    "fractions": [value / 255 for value in WAVE],
    "rows of pixels": np.reshape(PIXELS, (48, 48)).tolist(),
    "colors": np.reshape(PIXELS, (16, 48, 3)).tolist(),
    "colors with alpha": np.reshape(PIXELS, (24, 24, 4)).tolist(),
    "x, y, value": [list(each) for each in PLACED],
    "x, y, value in one list": [number for each in PLACED for number in each],
    "x, y, value as text": "\n".join(f"{x},{y},{value}" for x, y, value in PLACED),
    "row objects": [{"x": x, "y": y, "value": value} for x, y, value in PLACED],
    "pixels as text": " ".join(map(str, PIXELS)),
    "SVG rectangles": RECTANGLES,
    "boxes of colors with alpha": [[v, 255 - v, v // 2, 255] for v in PIXELS[:2000]],
    "objects with boxes of colors": [{"bbox": [v, 255 - v, v // 2, 255]} for v in PIXELS[:2000]],
    "boxes of gray levels": np.reshape(PIXELS, (-1, 4)).tolist(),
    "truth values": [value > 128 for value in PIXELS * 4],
    "links": [f"https://a.org/{n}{line}" for n in range(9) for line in LINES],
    "names of the parts": {line[n : n + 8]: None for line in LINES for n in range(0, 76, 8)},
    "outlines": {f"segmentation_{n}": PIXELS[:1000] for n in range(9)},
    "dithered run lengths": {"size": [sum(DITHERED), 1], "counts": DITHERED},
}
KEYS = ("x", "counts", "segmentation", "keypoints", "landmarks", "caption", "bbox")


def size_of(value: Any) -> int:
    return len(json.dumps(value, default=str))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", DISGUISES)
def test_a_picture_is_no_value_of_a_record(name: str, key: str) -> None:
    limits = Limits(())
    record = {"id": 1, key: DISGUISES[name], "inner": {key: DISGUISES[name]}}
    assert size_of(limits.record(record)) < 2 * MAX_TEXT
    assert limits.content.count_dropped() > 0


PIECES = {
    "base64": BASE64,
    "pixels": PIXELS,
    "truth values": DISGUISES["truth values"],
    "colors": DISGUISES["colors"],
    "boxes of colors with alpha": DISGUISES["boxes of colors with alpha"],
}


@pytest.mark.parametrize("name", PIECES)
def test_pieces_of_a_picture_share_the_limits_of_a_record(name: str) -> None:
    whole = PIECES[name] * 4
    step = 1 if name == "colors" else 60
    record = {f"p{n}": whole[n : n + step] for n in range(0, len(whole), step)}
    limits = Limits(())
    kept = limits.record(record)
    assert len(kept) < len(record)
    assert size_of([*kept.values()]) < 8192 * 7  # truth values take seven characters each
    pq.write_table(pa.Table.from_pylist([record] * 3), file := io.BytesIO())
    rows = pq.read_table(io.BytesIO(rewritten(rewrite_table, file.getvalue()))).to_pylist()
    assert len(rows) == 3
    for row in rows:
        assert sum(value is not None for value in row.values()) <= len(kept) + 1


def rewritten(rewrite: Rewriter, data: bytes, name: str = "a", limits: Limits | None = None) -> Any:
    out = io.BytesIO()
    rewrite(io.BytesIO(data), out, name, limits or Limits(()))
    return out.getvalue()


def coco(**more: Any) -> dict[str, Any]:
    image = {"id": 1, "file_name": "a.jpg", "width": 48, "height": 40}
    return {"images": [image], "annotations": [], **more}


@pytest.mark.parametrize("name", DISGUISES)
def test_a_picture_does_not_survive_in_coco(name: str) -> None:
    value = DISGUISES[name]
    whole = coco(
        thumbnails=value,
        nested={"deep": [value]},
        annotations=[{"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], "picture": value}],
    )
    fresh = rewritten(rewrite_coco, json.dumps(whole).encode())
    assert len(fresh) < len(json.dumps(coco())) + 24 * MAX_TEXT  # of truth values; others have less
    assert json.loads(fresh)["images"] == whole["images"]


OUTLINE = [
    round(value)
    for step in range(300)
    for value in (
        320 + (200 + 20 * math.sin(step)) * math.cos(step / 48),
        240 + (200 + 20 * math.sin(step)) * math.sin(step / 48),
    )
]
NOISE = random.Random(1)  # noqa: S311 - the same every time
RUNS = [NOISE.randrange(1, 90) for _ in range(6000)]
HONEST: dict[str, dict[str, Any]] = {
    "a polygon of 600 integers": {"segmentation": [OUTLINE]},
    "a contour": {"contour": OUTLINE},
    "points": {"points": np.reshape(OUTLINE, (300, 2)).tolist()},
    "a float polygon": {"segmentation": [[n * 0.37 for n in OUTLINE]]},
    "compressed runs": {"segmentation": {"size": [sum(RUNS), 1], "counts": format_counts(RUNS)}},
    "plain runs": {"segmentation": {"size": [1, 65535], "counts": [65000, 535]}},
    "keypoints": {"keypoints": [v for n in range(133) for v in (n * 7 % 640, n * 5 % 480, n % 3)]},
    "landmarks": {"landmarks": [37 * n % 250 for n in range(136)]},
    "attributes": {f"attribute_{n}": n % 2 for n in range(150)},
    "several labels": {"labels": [n % 7 == 0 for n in range(600)]},
    "a crowd": {
        "objects": {
            "bbox": [[9.5 * (n % 30), 14 * (n // 30), 9.5, 13] for n in range(700)],
            "area": [123.5] * 700,
            "pose": [n % 3 for n in range(700)],
            "category": ["person"] * 700,
            "kind": ["/m/01g317"] * 700,
        },
        "width": 320,
        "height": 330,
    },
    "boxes of corners": {"boxes": [[9 * n, 5 * n, 9 * n + 7, 5 * n + 9] for n in range(300)]},
    "boxes of centers": {"boxes": [[n / 300, n / 400, 0.01, 0.02] for n in range(300)]},
    "identifiers": {"ids": [f"{n:08x}-12ab-34cd-56ef-{n:012x}" for n in range(20)]},
    "a long caption": {"caption": "A man in a blue shirt rides a horse past the old barn. " * 40},
    "a German caption": {"caption": "Ein Mädchen spielt mit dem Hund im Garten. " * 40},
    "a Chinese caption": {"caption": "中文标签" * 500},
    "a long link": {"url": "https://example.org/a?u=" + "ab%20cD1" * 100},
    "a path of digests": {"file_name": f"ab/{'0f' * 32}/{'9a' * 32}.jpg"},
    "a digest": {
        "sha256": "0f" * 32,
        "base64": "9j" + "aB" * 20 + "=",
        "score": 1e-9,
        "flag": None,
    },
    "boxes of persons, visible parts and heads": {
        "gtboxes": [
            {
                "tag": "person",
                "fbox": [12 * (n % 40), 13 * (n // 40), 40, 50],
                "vbox": [12 * (n % 40), 13 * (n // 40), 36, 42],
                "hbox": [12 * (n % 40) + 9, 13 * (n // 40), 12, 14],
                "head_attr": {"ignore": 0, "occ": n % 2, "unsure": 0},
                "extra": {"box_id": n, "occ": n % 2},
            }
            for n in range(500)
        ]
    },
    "boxes of four keys": {
        "objects": [
            {"x": 9 * n % 400, "y": 7 * n % 300, "w": 40, "h": 30, "object_id": 1_058_508 + n}
            for n in range(60)
        ]
    },
    "one crop of all masks": {
        "annotations": [
            {
                "bbox": [9 * (n % 30), 14 * (n // 30), 9, 13],
                "crop_box": [0, 0, 320, 330],
                "point_coords": [[9.5 * (n % 30), 14.5 * (n // 30)]],
                "predicted_iou": 0.98,
                "segmentation": {"size": [330, 320], "counts": [105_500 + n, 100 - n]},
            }
            for n in range(96)
        ]
    },
    "corners as x and y": {
        "shapes": [
            {"name": "polygon", "all_points_x": OUTLINE[::2], "all_points_y": OUTLINE[1::2]},
            {"polygon": {"x": OUTLINE[::2], "y": OUTLINE[1::2]}},
        ]
    },
    "a conversation": {"turns": [{"from": "human", "value": "What is on it?"}] * 20},
}


@pytest.mark.parametrize("name", HONEST)
def test_an_annotation_is_kept_as_it_is(name: str) -> None:
    limits = Limits(())
    assert limits.record(HONEST[name]) == HONEST[name]
    annotation = {"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], **HONEST[name]}
    data = json.dumps(coco(annotations=[annotation] * 3), ensure_ascii=False).encode()
    assert rewritten(rewrite_coco, data) == data
    pq.write_table(pa.Table.from_pylist([HONEST[name]]), file := io.BytesIO())
    fresh = rewritten(rewrite_table, file.getvalue())
    assert pq.read_table(io.BytesIO(fresh)).to_pylist() == pq.read_table(file).to_pylist()


@pytest.mark.parametrize("indent", [None, 1, 4])
@pytest.mark.parametrize("separators", [None, (",", ":"), (",", ": ")])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_coco_as_programs_write_it_keeps_its_bytes(
    indent: int | None, separators: tuple[str, str] | None, ascii_only: bool
) -> None:
    if indent is not None:
        separators = None
    whole = {"info": {"é": [1]}, "licenses": [], **coco(annotations=[{"id": 1, "image_id": 1}] * 2)}
    text = json.dumps(whole, indent=indent, separators=separators, ensure_ascii=ascii_only)
    for end in ("", "\n"):
        data = (text + end).encode()
        assert rewritten(rewrite_coco, data) == data


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text + text,
        lambda text: text + '"more"',
        lambda text: text[:-9],
        lambda text: "[" + text + "]",
        lambda text: text.replace('"images": [', '"images": [7 7, '),
        lambda text: text.replace('{"id"', '{"id" 7', 1),
        lambda text: text[:-1] + ', "annotations": [], "info": 1, "images": [{"id": 2}]}',
        lambda text: "[" * 70_000,
        lambda text: "",
    ],
)
def test_coco_with_anything_before_between_or_after_is_refused(
    damage: Callable[[str], str],
) -> None:
    whole = {"info": {"x": 1}, **coco(annotations=[{"id": 1, "image_id": 1}])}
    with pytest.raises(DataError):
        rewritten(rewrite_coco, damage(json.dumps(whole)).encode())


VOC = """<?xml version="1.0"?>
<annotation verified="yes"><folder>x</folder><filename>a.jpg</filename>
  <size><width>48</width><height>40</height><depth>3</depth></size>
  <object><name>person</name><difficult>0</difficult>{inner}
    <bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>31</ymax></bndbox>
    <polygon><x1>1</x1><y1>2</y1><x2>5</x2><y2>2</y2><x3>5</x3><y3>9</y3></polygon></object>
{outer}</annotation>
"""


def test_voc_keeps_its_bytes() -> None:
    data = VOC.format(inner="<occluded>0</occluded>", outer="").encode()
    assert rewritten(rewrite_xml, data) == data


@pytest.mark.parametrize(
    "hidden",
    [
        f"<thumbnail>{BASE64}</thumbnail>",
        f"<!-- {BASE64} -->",
        f"<?picture {BASE64}?>",
        "".join(f"<l>{line}</l>" for line in LINES),
        f"<l>{''.join(f'<p>{line}</p>' for line in LINES)}</l>",
        f"<p>{''.join(f'<v>{value}</v>' for value in PIXELS)}</p>",
        "".join(f"<p><x>{x}</x><y>{y}</y><v>{v}</v></p>" for x, y, v in PLACED),
        f'<p data="{BASE64}"/>',
        RECTANGLES,
        f"<![CDATA[{BASE64}]]>",
    ],
)
@pytest.mark.parametrize("place", ["inner", "outer"])
def test_a_picture_does_not_survive_in_voc(hidden: str, place: str) -> None:
    texts = {"inner": "", "outer": "", place: hidden}
    fresh = rewritten(rewrite_xml, VOC.format(**texts).encode())
    assert len(fresh) < len(VOC) + 12 * MAX_TEXT
    assert b"<xmax>30</xmax>" in fresh


def test_xml_in_another_encoding_becomes_utf8() -> None:
    text = VOC.format(inner="", outer="").replace("person", "行人")
    declared = text.replace('version="1.0"', 'version="1.0" encoding="GBK"')
    fresh = rewritten(rewrite_xml, declared.encode("gbk"))
    assert "行人" in fresh.decode()
    assert b'encoding="UTF-8"' in fresh


LISTED = {"a.jpg", "a"}


def rewrite_labels(file: Any, target: Any, name: str, limits: Limits) -> None:
    yolo_rewrite.rewrite_labels(file, target, name, limits, None)


def yolo(folder: Path, **files: str) -> Iterator[tuple[str, bytes, int]]:
    """What is left of the files of a YOLO dataset, and how many values were dropped."""
    content = {"images/train/a.jpg": "", "data.yaml": "train: images/train\nnc: 1\nnames: [dog]\n"}
    for name, text in {**content, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    source: Any = open_source(str(folder), "yolo")
    for other in source.sidecars():
        if other.format:
            limits, out = Limits((), is_image=LISTED.__contains__), io.BytesIO()
            with source.open_sidecar(other) as file:
                source.rewrite_sidecar(other, file, out, limits)
            yield other.uri, out.getvalue(), limits.content.count_dropped()


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("0 0.5 0.5 0.2 0.1", True),
        ("0 0.5 0.5 0.2 0.1 0.93", True),
        ("0 1.0004 0.5 0.2 0.1", True),
        ("0 .1 .1 .5 .1 .5 1", True),
        (f"0 {' '.join(str(n / 700) for n in OUTLINE)}", True),
        (f"0 {' '.join(map(str, PIXELS))}", False),
        (LINES[0], False),
        (JPEG[:40].hex(" "), False),
        (f"0 0.5 0.5 0.2 0.{'1' * 99}", False),
        ("0 12 7", False),
    ],
)
def test_lines_of_labels(line: str, kept: bool, tmp_path: Path) -> None:
    label = "labels/train/a.txt"
    other = "0 .5 .5 .1 .1\n"
    text = f"{line}\n{other}"
    found = {name: (data, count) for name, data, count in yolo(tmp_path, **{label: text})}
    assert found[label] == ((text if kept else other).encode(), int(not kept))
    alone = {name: data for name, data, _ in yolo(tmp_path, **{label: f"{line}\n"})}
    assert alone.get(label) == (f"{line}\n".encode() if kept else None)  # never an empty file


@pytest.mark.parametrize("scale", [1, 10, 255])
def test_lines_of_four_pixels_are_no_boxes(scale: int) -> None:
    rows = np.reshape(PIXELS, (-1, 4)) / 255 / scale
    lines = "".join(f"0 {' '.join(f'{value:.5f}' for value in row)}\n" for row in rows)
    fresh = rewritten(rewrite_labels, lines.encode(), "a.txt")
    assert len(fresh.splitlines()) < 100


def test_labels_of_a_crowd_are_kept() -> None:
    boxes = [(n % 25 / 25, n // 25 / 20, 0.03 + n % 7 / 100, 0.09 + n % 5 / 50) for n in range(500)]
    lines = "".join(f"0 {' '.join(f'{value:.4f}' for value in box)}\n" for box in boxes)
    assert rewritten(rewrite_labels, lines.encode(), "a.txt").decode() == lines


def test_lists_name_images_only(tmp_path: Path) -> None:
    lines = ["./images/train/a.jpg", "/content/x/images/train/a.jpg", *LINES, "images/train/b.jpg"]
    files = {"train.txt": "\n".join(lines), "data.yaml": "train: train.txt\nnames: [dog]\n"}
    found = {name: data for name, data, _ in yolo(tmp_path, **files)}
    assert found["train.txt"].decode().splitlines() == lines[:2]


def test_a_configuration_is_written_from_its_values(tmp_path: Path) -> None:
    text = f"# {BASE64}\ntrain: images/train\nnc: 2\nnames:\n- dog\n- cat\nthumbnail: {BASE64}\n"
    [config] = [data for _, data, _ in yolo(tmp_path, **{"data.yaml": text})]
    assert config == b"train: images/train\nnc: 2\nnames: [dog, cat]\n"


def test_rows_of_metadata() -> None:
    rows = [{"file_name": "a.jpg", "text": "ein Hund, ☺"}, {"file_name": "b.jpg", "t": BASE64}]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    fresh = rewritten(REWRITERS["jsonl"], text.encode())
    assert fresh.decode().splitlines() == [text.splitlines()[0], '{"file_name": "b.jpg"}']
    table = f'file_name,text,boxes\na.jpg,"one, two",""\nb.jpg,{BASE64},"[[1, 2, 3, 4]]"\n'
    fresh = rewritten(REWRITERS["csv"], table.encode())
    assert fresh == b'file_name,text,boxes\na.jpg,"one, two",\nb.jpg,,"[[1, 2, 3, 4]]"\n'


PLACED_LINES = [f"{x},{y},{value}" for x, y, value in PLACED]
BOX_LINES = [f"dog,{9 * n},{5 * n},{9 * n + 40},{5 * n + 30},0.9{n}" for n in range(200)]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_rows_of_a_file_of_one_image_share_the_limits_of_a_record(suffix: str) -> None:
    tables = {
        "pixels": ["x,y,value", *PLACED_LINES],
        "boxes": ["class,xmin,ymin,xmax,ymax,score", *BOX_LINES],
    }
    sizes = {}
    for name, lines in tables.items():
        data = "".join(f"{line}\n" for line in lines).replace(",", "\t" if suffix == "tsv" else ",")
        if suffix == "jsonl":
            rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines]
            plain = [{k: v if v == "dog" else float(v) for k, v in row.items()} for row in rows[1:]]
            data = "".join(f"{json.dumps(row)}\n" for row in plain)
        kind = format_of_companion(PurePosixPath(f"a.{suffix}"), has_stem=True)
        fresh = rewritten(REWRITERS[kind], data.encode(), f"a.{suffix}")
        sizes[name] = sum(character.isdigit() for character in fresh.decode())
        if name == "boxes":
            assert fresh.decode() == data
    assert sizes["pixels"] < 800 < sizes["boxes"]


@pytest.mark.parametrize("name", ["base64", "a list of lines", "pixels", "rows of pixels"])
def test_a_picture_in_a_column_becomes_null(name: str) -> None:
    table = pa.table({"file_name": ["a.jpg", "b.jpg"], "x": [DISGUISES[name], None]})
    pq.write_table(table, file := io.BytesIO())
    limits = Limits(())
    fresh = rewritten(rewrite_table, file.getvalue(), "a.parquet", limits)
    assert pq.read_table(io.BytesIO(fresh)).to_pylist() == [
        {"file_name": "a.jpg", "x": None},
        {"file_name": "b.jpg", "x": None},
    ]
    assert limits.content.count_dropped() == 1


@pytest.mark.parametrize(
    "kind",
    [pa.binary(), pa.large_binary(), pa.binary(4), pa.dictionary(pa.int32(), pa.binary())],
)
def test_columns_of_bytes_become_null(kind: pa.DataType) -> None:
    value = pa.array(
        [b"\xff\xd8\xff\xe0"], kind if not pa.types.is_dictionary(kind) else pa.binary()
    )
    column = value.dictionary_encode() if pa.types.is_dictionary(kind) else value
    pq.write_table(pa.table({"x": column}), file := io.BytesIO())
    fresh = rewritten(rewrite_table, file.getvalue())
    assert pq.read_table(io.BytesIO(fresh))["x"].to_pylist() == [None]


def test_pixels_spread_over_columns_become_null() -> None:
    table = pa.table({f"p{n}": [value, value] for n, value in enumerate(PIXELS[:784])})
    pq.write_table(table, file := io.BytesIO())
    row = pq.read_table(io.BytesIO(rewritten(rewrite_table, file.getvalue()))).to_pylist()[0]
    assert not any(value is not None for value in row.values())


MATRICES = {
    "as pandas numbers columns": (48, "{}"),
    "as spreadsheets number columns": (16, "pixel_{}"),
    "with an index": (32, "{}"),
}


@pytest.mark.parametrize("name", MATRICES)
def test_a_table_of_pixels_is_no_table_of_annotations(name: str) -> None:
    width, form = MATRICES[name]
    rows = np.reshape(PIXELS, (-1, width))
    columns = {form.format(n): rows[:, n] for n in range(width)}
    if name == "with an index":
        columns = {"index": np.arange(len(rows)), **columns}
    pq.write_table(pa.table(columns), file := io.BytesIO())
    fresh = pq.read_table(io.BytesIO(rewritten(rewrite_table, file.getvalue())))
    assert set(fresh.to_pandas().count()) == {0}
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    for kind, text in (("csv", lines), ("tsv", [line.replace(",", "\t") for line in lines])):
        with pytest.raises(DataError, match="is a matrix of numbers"):
            rewritten(REWRITERS[kind], "\n".join(text).encode(), f"a.{kind}")


def test_numbered_columns_of_named_rows_are_kept() -> None:
    names = [f"{n:05d}.jpg" for n in range(40)]
    features = {f"f{n}": [math.sin(n * row) for row in range(40)] for n in range(50)}
    points = {
        f"{axis}_{n}": [1.5 * n + row for row in range(40)] for axis in "xy" for n in range(68)
    }
    for columns in (features, points):
        table = pa.table({"image": names, **columns})
        pq.write_table(table, file := io.BytesIO())
        fresh = rewritten(rewrite_table, file.getvalue(), "a.parquet", Limits())
        assert pq.read_table(io.BytesIO(fresh)).equals(table)


REMOVED = "jane.doe@example.org"
PEOPLE = pa.array(["jane", REMOVED, "x"]).dictionary_encode()
TABLES = {
    "categories": pa.table({"name": PEOPLE}).slice(0, 1),
    "ordered categories": pa.table(
        {"name": pa.DictionaryArray.from_arrays(PEOPLE.indices, PEOPLE.dictionary, ordered=True)}
    ).slice(0, 1),
    "nested categories": pa.table(
        {"name": pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), PEOPLE)}
    ).slice(0, 1),
    "struct": pa.table({"s": pa.StructArray.from_arrays([PEOPLE], ["name"])}).slice(0, 1),
    "no rows": pa.table({"name": PEOPLE}).slice(0, 0),
    "plain": pa.table({"a": [1, None, 3], "b": [[1.5], None, []], "c": ["x", None, "z"]}),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("compression", ["NONE", "zstd"])
def test_a_rewritten_table_has_the_same_rows_and_nothing_else(name: str, compression: str) -> None:
    pq.write_table(TABLES[name], file := io.BytesIO(), compression=compression)
    data = file.getvalue()
    fresh = rewritten(rewrite_table, data)
    assert pq.read_table(io.BytesIO(fresh)).to_pylist() == TABLES[name].to_pylist()
    assert pq.read_schema(io.BytesIO(fresh)) == pq.read_schema(io.BytesIO(data))
    assert REMOVED.encode() not in fresh
    if compression == "NONE" and name == "categories":
        assert REMOVED.encode() in data  # which is what a copy would keep
    assert rewritten(rewrite_table, fresh) == fresh


def test_bytes_between_the_pages_of_a_table_are_not_written() -> None:
    pq.write_table(pa.table({"a": list(range(9))}), file := io.BytesIO(), compression="NONE")
    data = file.getvalue()
    footer = int.from_bytes(data[-8:-4], "little") + 8
    hidden = data[:-footer] + JPEG + data[-footer:]
    assert pq.read_table(io.BytesIO(hidden)).num_rows == 9
    assert JPEG[:50] not in rewritten(rewrite_table, hidden)


@pytest.mark.parametrize("kind", [pa.string(), pa.binary()])
def test_a_long_value_that_many_rows_repeat_is_refused(kind: pa.DataType) -> None:
    value = pa.array(["A" * 300_000]).cast(kind)
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), value)
    pq.write_table(pa.table({"x": repeated}), file := io.BytesIO(), store_schema=False)
    with pytest.raises(DataError, match="the column 'x' has a value of 300,000 bytes"):
        rewritten(rewrite_table, file.getvalue())


def test_metadata_of_tables_that_are_no_schema_are_not_written() -> None:
    schema = pa.schema([pa.field("x", pa.int64(), metadata={"t": BASE64})], {"picture": BASE64})
    pq.write_table(schema.empty_table(), file := io.BytesIO())
    assert BASE64.encode()[:99] not in rewritten(rewrite_table, file.getvalue())


@pytest.mark.parametrize("format_name", sorted(REWRITERS))
def test_a_file_that_is_not_of_its_format_is_refused(format_name: str) -> None:
    with pytest.raises(DataError):
        rewritten(REWRITERS[format_name], b'\xff\xfe"x')


README = "# Photos\n\nPhotos of [dogs](https://example.org/" + "a" * 200 + ").\n\n| a | b |\n"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (README, True),
        (README + f"![x](data:image/jpeg;base64,{BASE64 * 2})", False),
        (README + "\n".join(LINES * 2), False),
        (README + DISGUISES["uuencode"] * 4, False),
        (README + DISGUISES["pixels as text"], False),
        (README + JPEG.hex(" "), False),
        (README + "\x00", False),
    ],
)
def test_documents_are_text_for_people(text: str, kept: bool) -> None:
    if kept:
        assert rewritten(REWRITERS["document"], text.encode()) == text.encode()
        return
    with pytest.raises(DataError):
        rewritten(REWRITERS["document"], text.encode())


EMBEDDING = [NOISE.gauss(0, 1) for _ in range(512)]
PERSONAL = {
    "key": "0001",
    "exif": json.dumps({"Image Model": "x", "GPS GPSLatitude": "[48, 8, 0]"}),
    "GPSLatitude": "48.1",
    "latitude": 48.1,
    "bodySerialNumber": "12345",
    "embedding": EMBEDDING,
    "features": EMBEDDING,
    "photographer": "Jane Doe",
    "source": "https://example.org/1.jpg",
    "sha256": "ab" * 32,
    "face_landmarks": [1, 2, 3, 4],
    "caption": "A dog.",
}
FOUND = {
    "gps": {"latitude": 1},
    "hashes": {"sha256": 1},
    "landmarks": {"face_landmarks": 1},
    "names": {"photographer": 1},
    "text": {"caption": 1},
    "urls": {"source": 1},
}


@pytest.mark.parametrize(
    "key",
    ["EXIF DateTimeOriginal", "Image Make", "Image Model", "LensModel", "lens_serial_number",
     "BodySerialNumber", "SerialNumber", "CameraOwnerName", "MakerNote", "xmp", "GPSInfo"],
)  # fmt: skip
def test_tags_of_exif_are_dropped_under_the_names_that_readers_write(key: str) -> None:
    assert Limits().record({"id": 1, key: "x"}) == {"id": 1}


ATTRIBUTES = {
    "camera": "front", "camera_id": 3, "camera_matrix": [[1.0, 0.0, 0.5]] * 3, "lens_type": "wide",
    "contact_lens": False, "serial": 7, "serial_no": "A-7", "rotation_vector": [0.1, 0.2, 0.3],
    "gravity_vec": [0.0, 9.8, 0.1], "vector_id": 3, "feature_vector_norm": 1.5, "embed_id": 7,
    "vector_art": True, "iptc_code": 5, "Image quality": 4, "Image Type": "photo", "maker": "x",
}  # fmt: skip


def test_ordinary_attributes_are_no_copies_of_exif_and_no_embeddings() -> None:
    limits = Limits()
    assert limits.record(ATTRIBUTES) == ATTRIBUTES
    assert limits.content.count_dropped() == 0


def test_exif_copies_and_embeddings_are_dropped_and_the_rest_is_reported() -> None:
    limits = Limits()
    limits.open("a.jsonl")
    kept = limits.record(PERSONAL)
    dropped = {"exif", "GPSLatitude", "bodySerialNumber", "embedding", "features"}
    assert set(PERSONAL) - set(kept) == dropped
    report = limits.content.to_dict()
    assert report == {
        "found": {"a.jsonl": FOUND},
        "dropped": {"a.jsonl": dict.fromkeys(sorted(dropped), 1)},
    }


@pytest.mark.parametrize(
    ("drop", "gone"),
    [
        (("gps",), {"latitude", "GPSLatitude"}),
        (("names", "caption"), {"photographer", "caption"}),
        (("urls", "hashes"), {"source", "sha256"}),
        (("landmarks",), {"face_landmarks"}),
        ((), set()),
    ],
)
def test_keys_to_drop(drop: tuple[str, ...], gone: set[str]) -> None:
    assert set(PERSONAL) - set(Limits(drop).record(PERSONAL)) == gone
    nested = Limits(drop).record({"meta": {"deep": PERSONAL}})["meta"]["deep"]
    assert set(PERSONAL) - set(nested) == gone
    values = {key: [value] for key, value in PERSONAL.items()}
    pq.write_table(pa.table(values), file := io.BytesIO())
    fresh = pq.read_table(io.BytesIO(rewritten(rewrite_table, file.getvalue(), "a", Limits(drop))))
    assert {key for key, value in fresh.to_pylist()[0].items() if value is None} == gone


def test_words_of_keys_are_whole_words() -> None:
    limits = Limits()
    record = {"shape": 3, "geometry": "x", "annotation": 1, "sharpness": 0.5, "flat": 2, "clan": 1}
    assert limits.record(record) == record
    assert limits.content.to_dict()["found"] == {}


def test_the_report_of_many_files_is_short() -> None:
    content = Content()
    for number in range(70):
        content.add(f"labels/{number}.json", "text", "caption")
    assert content.to_dict()["found"] == {"labels/*.json": {"text": {"caption": 70}}}
    for number in range(70):
        content.add(f"{number}/a.json", "text", "caption")
    assert content.to_dict()["found"] == {"*.json": {"text": {"caption": 140}}}


def test_the_shared_annotations_are_kept(shared_data: Path) -> None:
    data = (shared_data / "coco/instances.json").read_bytes()
    assert rewritten(rewrite_coco, data) == data


def test_what_given_drop_keys_did_is_described() -> None:
    dropped = {"a.json": {"licence": 3}, "b.json": {"licence": 1}}
    content = {"found": {"a.json": {"embeddings": {"vector": 2}}}, "dropped": dropped}
    lines = list(describe_drop_keys(("licence", "license", "exif"), content))
    assert lines[0] == "--drop-keys dropped 'licence' (4 values)"
    assert lines[1] == "--drop-keys: the annotations have no key 'license'"
    assert lines[2].startswith("--drop-keys replaces the default: embeddings are kept")
    assert len(lines) == 3
    assert not list(describe_drop_keys(("urls",), {"found": {}, "dropped": {}}))


@pytest.mark.parametrize("words", [None, (), DROPPED_KINDS, ("exif", "embeddings")])
def test_the_default_drop_keys_are_not_described(words: tuple[str, ...] | None) -> None:
    assert not list(describe_drop_keys(words, {"found": {}, "dropped": {}}))


def test_the_content_of_many_keys_does_not_depend_on_the_order() -> None:
    entries = [(f"{n % 3}.json", "text", f"key{n // 3:04d}") for n in range(9000)]
    grouped = [(f"a/{n % 100}.json", "text", f"key{n // 100:04d}") for n in range(250_000)]
    for given in (entries, grouped):
        reports = []
        shuffled = random.Random(0).sample(given, len(given))  # noqa: S311
        for order in (given, given[::-1], shuffled):
            content = Content()
            for file, kind, key in order:
                content.add(file, kind, key)
                content.add_dropped(file, key)
            assert content.count_dropped() == len(given)
            reports.append(content.to_dict())
        assert reports[0] == reports[1] == reports[2]
        [(file, kinds)] = reports[0]["found"].items()
        assert list(kinds["text"]) == [f"key{n:04d}" for n in range(1000)]
        assert set(kinds["text"].values()) == {1 if given is entries else 100}
        assert reports[0]["dropped"][file] == kinds["text"]
