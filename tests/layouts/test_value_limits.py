"""No form of a picture passes the limits of values in any format; honest annotations do whole."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import random
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.errors import DataError
from curate.layouts.coco.rewrite import rewrite_coco
from curate.layouts.rewriters import REWRITERS
from curate.layouts.sidecars.table import rewrite_table
from curate.layouts.sidecars.values import Limits
from curate.layouts.voc.rewrite import rewrite_xml
from curate.layouts.yolo.rewrite import rewrite_config

NOISE = random.Random(3)  # noqa: S311 - the same every time
SIDE = 48
PIXELS = [
    round(
        120
        + 60 * math.sin(x / 11) * math.cos(y / 7)
        + 50 * (abs(x - 24) + abs(y - 22) < 16)
        + NOISE.gauss(0, 3)
    )
    for y in range(SIDE)
    for x in range(SIDE)
]
JPEG = NOISE.randbytes(100_000)
BASE64 = base64.b64encode(JPEG).decode()
LETTERS = "abcdefghijklmnop"
SYLLABLES = [f"{LETTERS[n // 16]}{LETTERS[n % 16]}" for n in range(256)]


def pieces(values: Any, size: int) -> list[Any]:
    return [values[n : n + size] for n in range(0, len(values), size)]


ITEMS: dict[str, tuple[list[Any], float]] = {
    "texts": ([str(value) for value in PIXELS], 1),
    "texts with a letter": ([f"p{value}" for value in PIXELS], 1),
    "texts of fractions": ([f"{value / 255:.3f}" for value in PIXELS], 1),
    "numbers": (PIXELS, 1),
    "fractions": ([value / 255 for value in PIXELS], 1),
    "numbers of 32 bits": ([int.from_bytes(each, "big") for each in pieces(JPEG[:8000], 4)], 4),
    "numbers of 63 bits": ([int.from_bytes(each, "big") for each in pieces(JPEG[:7000], 7)], 7),
    "levels": ([value // 16 for value in PIXELS], 0.5),
    "truth values": ([value > 120 for value in PIXELS * 4], 0.125),
    "keys": ([{str(value): 1} for value in PIXELS], 1),
    "objects": ([{"v": str(value)} for value in PIXELS], 1),
    "nested rows": ([[[value]] for value in PIXELS], 1),
    "dates": ([f"2024-{value // 20 + 1:02}-{value % 20 + 1:02}" for value in PIXELS], 1),
    "colors": ([f"#{value:02x}{value:02x}{value:02x}" for value in PIXELS], 1),
    "links": ([f"http://x/{value}" for value in PIXELS], 1),
    "syllables": ([SYLLABLES[value] for value in PIXELS], 1),
    "base64 by 4": (pieces(BASE64[:16000], 4), 3),
    "base64 by 12": (pieces(BASE64[:16000], 12), 9),
    "base64 by 48": (pieces(BASE64, 48), 36),
    "hexadecimal by 32": (pieces(JPEG[:8000].hex(), 32), 16),
    "hexadecimal by 64": (pieces(JPEG[:8000].hex(), 64), 32),
}
SHAPES: dict[str, list[Any]] = {
    "bbox": pieces(PIXELS, 4),
    "boxes": pieces(pieces(PIXELS, 4), 16),
    "segmentation": pieces(PIXELS, 10),
    "points": pieces(pieces(PIXELS, 2), 5),
    "landmarks": pieces(PIXELS, 136),
    "keypoints": [[v for xy in pieces(row, 2) for v in (*xy, 2)] for row in pieces(PIXELS, 34)],
    "counts": [{"size": [8, 8], "counts": row} for row in pieces(PIXELS, 16)],
}
FORMS: dict[str, Callable[[str, list[Any]], dict[str, Any]]] = {
    "list": lambda key, items: {key: items},
    "rows": lambda key, items: {key: pieces(items, 16)},
    "uneven rows": lambda key, items: {key: [items[n : n + 9 + n % 2] for n in range(0, 2300, 9)]},
    "fields": lambda key, items: {f"{key}_{n}": item for n, item in enumerate(items)},
    "lists": lambda key, items: {f"{key}_{n}": each for n, each in enumerate(pieces(items, 12))},
    "objects": lambda key, items: {key: [{"v": item} for item in items]},
}


def rewritten(rewrite: Callable[..., None], data: bytes, name: str = "a") -> bytes:
    out = io.BytesIO()
    try:
        rewrite(io.BytesIO(data), out, name, Limits(()))
    except DataError:
        return b""
    return out.getvalue()


def to_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def as_coco(**more: Any) -> Callable[[dict[str, Any]], Any]:
    def write(value: dict[str, Any]) -> Any:
        whole = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": []}
        item = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], **value}
        whole |= {"annotations": [item]} if more.get("key") == "annotations" else value
        found = json.loads(rewritten(rewrite_coco, to_json(whole)))
        kept = found["annotations"][0] if more else found
        return [item for key, item in kept.items() if key not in ("images", "id", "bbox")]

    return write


def as_csv(value: dict[str, Any]) -> Any:
    cells = [item if isinstance(item, str) else json.dumps(item) for item in value.values()]
    quoted = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
    data = f"file_name,{','.join(value)}\na.jpg,{quoted}\n".encode()
    lines = rewritten(REWRITERS["csv"], data).decode().splitlines()
    assert len(lines) in (0, 2)
    return [parse(cell) for cell in next(iter_cells(lines[1]))[1:]] if lines else []


def iter_cells(line: str) -> Any:
    csv.field_size_limit(1 << 24)
    return csv.reader([line])


def parse(cell: str) -> Any:
    try:
        return json.loads(cell) if cell[:1] in "[{tf" and cell else cell
    except ValueError:
        return cell


def as_table(value: dict[str, Any]) -> Any:
    try:
        table = pa.Table.from_pylist([value] * 2)
    except (pa.ArrowException, OverflowError):
        return []
    pq.write_table(table, file := io.BytesIO())
    fresh = rewritten(rewrite_table, file.getvalue())
    return [*pq.read_table(io.BytesIO(fresh)).to_pylist()[1].values()] if fresh else []


def as_yaml(value: dict[str, Any]) -> Any:
    data = yaml.dump({"train": "x", **value}, Dumper=yaml.CSafeDumper).encode()
    return yaml.load(rewritten(rewrite_config, data), yaml.CSafeLoader)


def as_xml(value: dict[str, Any]) -> Any:
    def format_value(key: str, item: Any) -> str:
        if isinstance(item, dict):
            inner = "".join(format_value(f"k{name}", each) for name, each in item.items())
        elif isinstance(item, list):
            inner = "".join(format_value("i", each) for each in item)
        else:
            inner = str(item)
        return f"<{key}>{inner}</{key}>"

    inner = "".join(format_value(key, item) for key, item in value.items())
    data = f"<annotation><object><name>x</name>{inner}</object></annotation>".encode()
    return re.findall(r">([^<>\s]+)<", rewritten(rewrite_xml, data).decode())


def as_lines(kind: str) -> Callable[[dict[str, Any]], Any]:
    def write(value: dict[str, Any]) -> Any:
        fresh = rewritten(REWRITERS[kind], to_json({"file_name": "a.jpg", **value}))
        return [*json.loads(fresh or b"{}").values()]

    return write


LAYOUTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "COCO, an annotation": as_coco(key="annotations"),
    "COCO, the file": as_coco(),
    "metadata.jsonl": as_lines("jsonl"),
    "metadata.csv": as_csv,
    "JSON of a sample": as_lines("json"),
    "rows of an image": as_lines("image_jsonl"),
    "Parquet": as_table,
    "dataset_info.json": as_lines("info"),
    "data.yaml": as_yaml,
    "VOC": as_xml,
}


SLOW = ("Parquet", "data.yaml")
DOCUMENTS = ("dataset_info.json", "data.yaml")


def count(value: Any) -> int:
    """Values other than empty ones, and not of columns that are no data."""
    if isinstance(value, dict | list):
        return sum(map(count, value.values() if isinstance(value, dict) else value))
    return value is not None and value != ""


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", FORMS)
def test_no_picture_is_kept_as_values(layout: str, form: str) -> None:
    for name, (items, size) in ITEMS.items():
        if layout in SLOW:
            items = items[:1200]
            if name not in ("texts", "numbers", "base64 by 48"):
                continue
        kept = count(LAYOUTS[layout](FORMS[form]("thumb", items)))
        assert kept * size < (1850 if layout in DOCUMENTS else 1040), name


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "VOC"])
@pytest.mark.parametrize("key", SHAPES)
def test_no_picture_is_kept_as_shapes(layout: str, key: str) -> None:
    for form in ("list", "fields", "lists", "objects"):
        assert count(LAYOUTS[layout](FORMS[form](key, SHAPES[key]))) < 1600, form


def test_a_thumbnail_uses_no_limits_of_boxes() -> None:
    thumb = {"t": PIXELS[:1024]}
    boxes = [[n % 9 * 40, n // 9 * 40, 30, 35] for n in range(72)]
    for value in (
        {"objects": {"bbox": boxes}, "thumb": PIXELS[:1024]},
        {"objects": {"bbox": boxes, "thumb": PIXELS[:1024]}},
        {"objects": [{"bbox": box} for box in boxes], "thumb": PIXELS[:1024]},
        {"objects": [{"bbox": box} for box in boxes[1:]] + [{"bbox": boxes[0], **thumb}]},
        {"bbox": boxes, "landmarks": [PIXELS[n : n + 300] for n in range(0, 3000, 300)]},
    ):
        for write in (as_lines("jsonl"), as_table):
            assert count(write(value)) < 500


ATTRIBUTES = [f"has_{a}::{b}" for a in ("bill_shape", "wing_color") for b in ("round", "red")]
SHA256 = [NOISE.randbytes(32).hex() for _ in range(6)]
POSE = [v for n in range(133) for v in (200.5 + 31 * math.sin(n), 90.25 + n, n % 3)]
MAN = "The man with pattern shirt on is standing on the sidewalk"
SENTENCES = {
    "English": "a black-and-white photo of two dogs that play with a ball on the beach at sunset",
    "Chinese": "一只棕色的狗在公园的草地上奔跑，旁边有一个穿红色外套的小女孩，2024年5月",
    "Japanese": "公園のベンチに座っている二人の女性が、犬を連れた男性を見ています。",
    "Arabic": "رجل يرتدي قميصا أزرق يقف بجانب حصان بني في الحقل",
    "Thai": "ผู้ชายสวมเสื้อสีฟ้ายืนอยู่ข้างม้าสีน้ำตาลในทุ่งหญ้าใกล้บ้านหลังเก่า",
    "Hindi": "नीली कमीज़ पहने एक आदमी पुराने खलिहान के पास घोड़े पर सवार है",
    "Russian": "Мужчина в синей рубашке стоит рядом с коричневой лошадью в поле",
    "Korean": "파란 셔츠를 입은 남자가 갈색 말 옆에 서 있다",
}
HONEST: dict[str, dict[str, Any]] = {
    "COCO": {
        "id": 1768, "image_id": 289343, "category_id": 18, "area": 702.1057499999998,
        "iscrowd": 0, "bbox": [473.07, 395.93, 38.65, 28.67],
        "segmentation": [[510.66, 423.01, 511.72, 420.03, 510.45, 416.0, 473.07, 395.93]],
    },
    "WholeBody": {
        "bbox": [1, 2, 300, 400], "keypoints": POSE[:51], "face_kpts": POSE[51:255],
        "lefthand_kpts": POSE[:63], "righthand_kpts": POSE[63:126], "foot_kpts": POSE[:18],
        "face_box": [20, 30, 40, 50], "lefthand_box": [1, 30, 9, 9], "face_valid": True,
        "lefthand_valid": False, "righthand_valid": True, "foot_valid": True,
    },
    "WholeBody of several": {
        "people": [{"bbox": [9 * n, 9, 90, 200], "keypoints": POSE} for n in range(9)]
    },
    "LVIS": {
        "id": 1, "neg_category_ids": [7 * n % 1204 for n in range(300)],
        "not_exhaustive_category_ids": [n * 3 for n in range(90)],
        "coco_url": "http://images.cocodataset.org/val2017/000000397133.jpg",
        "flickr_url": "http://farm7.staticflickr.com/6116/6255196340_da26cf2c9e_z.jpg",
        "date_captured": "2013-11-14 17:02:52", "license": 4, "height": 427, "width": 640,
    },
    "Objects365": {
        "file_name": "objects365_v1_00420917.jpg",
        "annotations": [
            {"id": 10_000_000 + n, "category_id": n % 365, "isfake": 0, "isreflected": n % 2,
             "iscrowd": 0, "area": 5040.5 + n, "bbox": [9.5 * n, 40.25, 38.1, 77.3]}
            for n in range(60)
        ],
    },
    "Open Images": {
        "ImageID": "000a1249af2bc5f0",
        "objects": {
            "LabelName": ["/m/01g317", "/m/04yx4", "/m/0k4j"] * 20,
            "bbox": [[0.01 * n, 0.2, 0.01 * n + 0.1, 0.5] for n in range(60)],
            "Confidence": [1] * 60, "IsOccluded": [n % 2 for n in range(60)],
            "IsTruncated": [n % 2 for n in range(60)], "IsGroupOf": [0] * 60,
            "IsDepiction": [0] * 60, "IsInside": [-1] * 60, "Source": ["xclick"] * 60,
        },
        "positive_labels": ["/m/01g317", "/m/04yx4"], "negative_labels": ["/m/0bt9lr"] * 9,
    },
    "CelebA": {f"{name}_{n}": (-1) ** n for n, name in enumerate(["Smiling", "Male"] * 20)},
    "CUB": {f"{name}_{n}": n % 7 == 0 for n, name in enumerate(ATTRIBUTES * 78)},
    "1,000 classes": {"labels": [int(n % 97 == 0) for n in range(1000)], "n": 11, "score": 0.25},
    "a text of tokens": {"tokens": [320 + 7919 * n % 48000 for n in range(77)], "text": "a dog"},
    "TextOCR": {
        "words": [f"{w}{n}" for n, w in enumerate(["CAFE", "Open", "24h", "$3.50"] * 25)],
        "bbox": [[n % 10 * 60, n // 10 * 40, 50, 20] for n in range(100)],
        "points": [
            [x, y, x + 50, y + 1, x + 50, y + 21, x, y + 20]
            for x, y in ((n % 10 * 60, n // 10 * 40) for n in range(100))
        ],
    },
    "LLaVA": {
        "id": "000000033471", "image": "000000033471.jpg",
        "conversations": [
            turn
            for n in range(10)
            for turn in (
                {"from": "human", "value": f"<image>\nWhat are the colors of bus number {n}?"},
                {"from": "gpt", "value": "The bus in the image is white and red. " * 9},
            )
        ],
    },
    "Visual Genome": {
        "image_id": 1, "width": 800, "height": 600,
        "url": "https://cs.stanford.edu/people/rak248/VG_100K_2/1.jpg",
        "regions": [
            {"region_id": 1382 + n, "image_id": 1, "phrase": f"{MAN} {n}",
             "x": 9 * n, "y": 5 * n, "width": 139, "height": 86}
            for n in range(60)
        ],
        "objects": [
            {"object_id": 1_058_498 + n, "x": 9 * n, "y": 8 * n, "w": 90, "h": 120,
             "names": ["clock"], "synsets": ["clock.n.01"], "merged_object_ids": [],
             "attributes": ["green", "tall"]}
            for n in range(40)
        ],
    },
    "img2dataset": {
        "caption": SENTENCES["English"], "url": "https://i.example.org/a/B1c2/D3.jpg?w=640&h=480",
        "key": "000010023", "status": "success", "error_message": None, "width": 640,
        "height": 427, "original_width": 1920, "original_height": 1281, "sha256": SHA256[0],
        "similarity": 0.3356914520263672, "pwatermark": 0.04,
        "punsafe": 1.2e-05, "NSFW": "UNLIKELY",
    },
    "several digests": {
        "files": [{"name": f"part-{n}.jpg", "sha256": digest} for n, digest in enumerate(SHA256)],
        "uuid": "123e4567-e89b-12d3-a456-426614174000",
    },
    "captions": {"captions": [*SENTENCES.values()], **SENTENCES},
    "tags": {"tags": ["dog", "beach", "sunset", "Golden Retriever", "plage", "犬"] * 6},
    "a camera": {
        "intrinsics": [[1266.41, 0.0, 816.26], [0.0, 1266.41, 491.5], [0.0, 0.0, 1.0]],
        "ego_pose": {"rotation": [0.97, 0.01, 0.02, 0.2], "translation": [600.1, 1647.4, 0.0]},
        "timestamp": 1_531_883_530_449_377,
    },
    "a crowd": {
        "ID": "273271,c9db000d5146c15",
        "gtboxes": [
            {"tag": "person", "fbox": [12 * (n % 40), 13 * (n // 40), 40, 50],
             "hbox": [12 * (n % 40) + 9, 13 * (n // 40), 12, 14], "extra": {"box_id": n, "occ": 1}}
            for n in range(500)
        ],
    },
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_annotations_of_public_datasets_are_whole(name: str) -> None:
    record = HONEST[name]
    limits = Limits()
    assert limits.record(record) == record
    assert limits.content.to_dict()["dropped"] == {}
    lines = to_json(record) + b"\n"
    assert rewritten(REWRITERS["jsonl"], lines) == lines
    cells = [item if isinstance(item, str) else json.dumps(item) for item in record.values()]
    quoted = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
    fresh = rewritten(REWRITERS["csv"], f"{','.join(record)}\n{quoted}\n".encode()).decode()
    assert next(iter_cells(fresh.split("\n", 1)[1])) == cells or "\n" in "".join(cells)
    pq.write_table(pa.Table.from_pylist([record] * 3), file := io.BytesIO())
    table = rewritten(rewrite_table, file.getvalue())
    assert pq.read_table(io.BytesIO(table)).equals(pq.read_table(file))


NUMBERS = st.sampled_from([0, 1, 7, 200, 0.5, 1 << 40])
LEAVES = NUMBERS | st.sampled_from([None, True, "", "12", "person", "a1B2c3D4", "http://x/1"])
LEVELS = LEAVES | st.lists(LEAVES, min_size=2, max_size=40)


@st.composite
def records(draw: Any) -> dict[str, Any]:
    """Records with about as many values as the limits allow."""
    size = draw(st.sampled_from([3, 60, 66, 190, 210, 800, 1020, 1030]))
    pattern = draw(st.lists(LEVELS, min_size=1, max_size=4))
    key = draw(st.sampled_from(["pixel{}", "k{}_x", "bbox{}"]))
    values = {key.format(n): pattern[n % len(pattern)] for n in range(size)}
    boxes = [[5 * n, 3 * n, 9, 9] for n in range(draw(st.sampled_from([0, 1, 20, 70])))]
    return {"file_name": "a.jpg", "bbox": boxes, "ids": [*range(len(boxes))], **values}


def column_of(values: list[Any]) -> Any:
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError):
        return pa.array([None if value is None else json.dumps(value) for value in values])


def to_csv(record: dict[str, Any]) -> bytes:
    cells = [item if isinstance(item, str) else json.dumps(item) for item in record.values()]
    quoted = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
    return f"{','.join(record)}\n{quoted}\n{quoted}\n".encode()


def to_parquet(record: dict[str, Any]) -> bytes:
    table = pa.table({key: column_of([item] * 2) for key, item in record.items()})
    pq.write_table(table, file := io.BytesIO())
    return file.getvalue()


def to_coco(record: dict[str, Any]) -> bytes:
    return to_json({"images": [record], "annotations": [record], "more": [record] * 2, **record})


WRITTEN = (
    (REWRITERS["jsonl"], lambda record: to_json(record) + b"\n"),
    (REWRITERS["image_jsonl"], lambda record: (to_json(record) + b"\n") * 3),
    (REWRITERS["csv"], to_csv),
    (REWRITERS["image_csv"], to_csv),
    (REWRITERS["info"], to_json),
    (rewrite_coco, to_coco),
    (rewrite_config, to_json),
    (rewrite_table, to_parquet),
)


@settings(max_examples=20, deadline=None)
@given(records(), st.sampled_from(WRITTEN))
def test_what_is_written_is_within_the_limits(record: dict[str, Any], written: Any) -> None:
    rewrite, write = written
    once = rewritten(rewrite, write(record))
    if not once:
        return  # refused, with a message
    limits, out = Limits(()), io.BytesIO()
    rewrite(io.BytesIO(once), out, "a", limits)
    assert limits.content.to_dict()["dropped"] == {}
    assert out.getvalue() == once
