"""One case per rule; tests/property/test_sidecars.py varies offsets and cuts."""

from __future__ import annotations

import base64
import io
import json
import random
import textwrap
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate.layouts.access.folder import LocalFolder
from curate.layouts.coco.geometry import format_counts
from curate.layouts.imagefolder import ImageFolder
from curate.layouts.sidecars import find_pictures
from curate.layouts.sidecars.table import open_compacted

BASE64 = "it holds a picture in base64 or hexadecimal"
NUMBERS = "it holds a picture as numbers"
NO_TEXT = "it is not UTF-8 or UTF-16 text"
ESCAPES = "it holds bytes as escapes"

NOISE = random.Random(1).randbytes(60_000)  # noqa: S311 - the same every time
PIXELS = list(NOISE[: 48 * 48])
RUNS = [1 + byte % 90 for byte in NOISE]
"""Run lengths of a large mask."""


def image(format_name: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((40, 40), 60).convert("RGB").save(file, format_name)
    return file.getvalue()


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


JPEG = encode(image("JPEG"))
BOX = b"\0\0\0\x1cftyp%s\0\0\0\0mif1miaf"
TEXTS: dict[str, tuple[str | bytes, str]] = {
    **{name: (json.dumps([encode(image(name))]), BASE64) for name in ("PNG", "GIF", "WEBP")},
    **{name: (json.dumps([encode(image(name))]), BASE64) for name in ("JPEG", "TIFF", "BMP")},
    "HEIC": (encode(BOX % b"heic" + NOISE[:300]), BASE64),
    "AVIF": (encode(BOX % b"avif" + NOISE[:300]), BASE64),
    "JPEG XL": (encode(b"\xff\x0a\xfa\x1f" + NOISE[:300]), BASE64),
    "JPEG 2000": (encode(b"\0\0\0\x0cjP  \r\n\x87\n" + NOISE[:300]), BASE64),
    "zlib": (encode(zlib.compress(NOISE[:300])), BASE64),
    "lines": ("\n".join(textwrap.wrap(JPEG, 76)), BASE64),
    "lines in JSON": (json.dumps("\n".join(textwrap.wrap(JPEG, 76))), BASE64),
    "UTF-16": (json.dumps([JPEG]).encode("utf-16"), BASE64),
    "URL-safe": (JPEG.replace("+", "-").replace("/", "_"), BASE64),
    "JSON in JSON": (json.dumps(json.dumps([JPEG]).replace("/", "\\/")), BASE64),
    "JSON escapes": (JPEG.replace("/", "\\u002F").replace("+", "\\u002b"), BASE64),
    "percent twice": (JPEG.replace("/", "%252F").replace("+", "%252B"), BASE64),
    "XML references": (JPEG.replace("/", "&#x2F;").replace("+", "&#43;"), BASE64),
    "hexadecimal lines": ("\n".join(textwrap.wrap(image("PNG").hex(), 60)), BASE64),
    "Python escapes": (repr(image("JPEG")), ESCAPES),
    "Latin-1 in JSON": (json.dumps(image("PNG").decode("latin-1")), ESCAPES),
    "octal escapes": ("".join(f"\\{byte:03o}" for byte in image("PNG")), ESCAPES),
    "C array": (", ".join(f"0x{byte:02x}" for byte in image("JPEG")), ESCAPES),
    "FER2013": (f"emotion,pixels\n0,{' '.join(map(str, PIXELS))}\n", NUMBERS),
    "list of pixels": (json.dumps({"pixels": PIXELS}), NUMBERS),
    "indented pixels": (json.dumps(np.reshape(PIXELS, (48, 16, 3)).tolist(), indent=8), NUMBERS),
    "signed pixels": (str([value - 128 for value in PIXELS]), NUMBERS),
    "ASCII PGM": ("P2\n# by hand\n48 48\n255\n" + "\n".join(map(str, PIXELS)), NUMBERS),
    "pixels under counts": (json.dumps({"counts": [PIXELS, []]}), NUMBERS),
    "binary": (b"\xff\xd8\xff\xe0\x00\x10JFIF", NO_TEXT),
    "UTF-32": ("plain".encode("utf-32"), NO_TEXT),
    "control character": (b"a\x1bb", NO_TEXT),
}


@pytest.mark.parametrize("name", TEXTS)
def test_an_encoded_image_is_found(name: str, tmp_path: Path) -> None:
    content, reason = TEXTS[name]
    (tmp_path / "a.json").write_bytes(content.encode() if isinstance(content, str) else content)
    assert find_pictures(tmp_path / "a.json") == reason


def test_a_long_word_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"id,data\n1,{base64.b32encode(NOISE[:1000]).decode()}\n")
    assert "without a break" in str(find_pictures(tmp_path / "a.csv"))
    (tmp_path / "a.json").write_text(json.dumps({"counts": encode(image("BMP"))}))
    assert "without a break" in str(find_pictures(tmp_path / "a.json"))


ANNOTATIONS = {
    "paths": "\n".join(f"/workspace/faces_{n:06d}/{'deep/' * 9}{n}" for n in range(2000)),
    "digests": json.dumps({"sha256": ["9j" + "ab" * 31] * 20}),
    "compressed runs": json.dumps({"size": [480, 640], "counts": format_counts(RUNS)}),
    "plain runs": json.dumps({"counts": RUNS, "size": [200, 300]}),
    "polygon": json.dumps([[n * 0.37 % 640 for n in range(4000)]]),
    "integer polygon": json.dumps([{"segmentation": [PIXELS[:800]]} for _ in range(99)]),
    "keypoints": json.dumps([{"keypoints": PIXELS[:51]} for _ in range(999)]),
    "a label per line": "7\r\n" * 50_000,
    "a table of labels": "id,label,fold\n" + "\n".join(f"{n},{n % 9},1" for n in range(5000)),
    "chinese": json.dumps(["\u4e2d\u6587\u6807\u7b7e" * 500]),
    "urls": "https://x.org/a?u=https%3A%2F%2Fy.org%2F%E4%B8%AD%E6%96%87.jpg\n" * 500,
    "nothing": "",
}


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_annotations_pass(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(ANNOTATIONS[name])
    assert find_pictures(tmp_path / "a.json") is None
    (tmp_path / "a.txt").write_text(ANNOTATIONS[name], encoding="utf-16")
    assert find_pictures(tmp_path / "a.txt") is None
    pq.write_table(pa.table({"x": [ANNOTATIONS[name]]}), tmp_path / "a.parquet")
    assert find_pictures(tmp_path / "a.parquet") is None


def find_in(table: pa.Table, folder: Path) -> str | None:
    pq.write_table(table, folder / "a.parquet")
    return find_pictures(folder / "a.parquet")


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (pa.binary(), "bytes"),
        (pa.struct([("b", pa.list_(pa.large_binary()))]), "bytes"),
        (pa.map_(pa.string(), pa.binary(4)), "bytes"),
        (pa.dictionary(pa.int32(), pa.binary()), "bytes"),
        (pa.list_(pa.uint8()), "lists of small numbers"),
        (pa.struct([("b", pa.list_(pa.int16(), 4))]), "lists of small numbers"),
    ],
)
def test_a_column_type_that_can_hold_images_is_found(
    kind: pa.DataType, what: str, tmp_path: Path
) -> None:
    table = pa.table({"image": pa.array([None], kind)})
    assert find_in(table, tmp_path) == f"its column 'image' holds {what}"


@pytest.mark.parametrize("scale", [1, 1 / 255])
def test_a_list_of_pixels_in_a_column_is_found(scale: float, tmp_path: Path) -> None:
    pixels = (np.reshape(PIXELS, (16, 48, 3)) * scale).tolist()
    rows = [{"x": {"y": None}}, {"x": {"y": pixels[:3]}}, {"x": {"y": pixels}}]
    found = find_in(pa.Table.from_pylist(rows), tmp_path)
    assert found == "its column 'x.y' holds a picture as numbers"
    fixed = pa.array([[300] * 2304, PIXELS], pa.list_(pa.int64(), 2304))
    assert "picture" in str(find_in(pa.table({"x": fixed}), tmp_path))


def test_pixels_spread_over_columns_are_found(tmp_path: Path) -> None:
    table = pa.table({f"p{n}": [value, value] for n, value in enumerate(PIXELS[:784])})
    assert find_in(table, tmp_path) == "it holds 784 columns of small numbers, which may be pixels"


@pytest.mark.parametrize("kind", ["plain", "deep", "dictionary", "map"])
def test_an_image_in_a_text_column_is_found(kind: str, tmp_path: Path) -> None:
    values = ["nothing", JPEG]
    columns = {
        "plain": pa.array(values),
        "deep": pa.array([{"deep": values}]),
        "dictionary": pa.array(values).dictionary_encode(),
        "map": pa.array([[("key", value) for value in values]], pa.map_(pa.string(), pa.string())),
    }
    assert find_in(pa.table({"x": columns[kind]}), tmp_path) == BASE64


def test_an_image_in_table_metadata_is_found(tmp_path: Path) -> None:
    schema = pa.schema([("x", pa.int64())], metadata={"thumbnail": JPEG})
    assert find_in(schema.empty_table(), tmp_path) == BASE64
    field = pa.field("x", pa.list_(pa.field("y", pa.int64(), metadata={"t": JPEG})))
    assert find_in(pa.schema([field]).empty_table(), tmp_path) == BASE64


def test_tables_of_annotations_pass(tmp_path: Path) -> None:
    row = {
        "file_name": "a.jpg",
        "bbox": [1.5, 2.0, 30.0, 40.0],
        "segmentation": [[n * 0.37 % 640 for n in range(4000)]],
        "embedding": [n / 768 - 0.5 for n in range(2048)],
        "mask": {"size": [480, 640], "counts": format_counts(RUNS)},
    }
    wide = {f"attribute_{n}": n % 2 for n in range(99)}
    assert find_in(pa.Table.from_pylist([row | wide] * 300), tmp_path) is None


def test_a_file_that_is_not_a_table_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no table")
    assert find_pictures(tmp_path / "a.parquet") == "it is not a readable Parquet file"


def test_the_shared_annotations_pass(shared_data: Path) -> None:
    suffixes = (".json", ".csv", ".txt", ".xml", ".parquet")
    found = [path for path in sorted(shared_data.rglob("*")) if path.suffix.lower() in suffixes]
    assert found
    assert {path: find_pictures(path) for path in found if find_pictures(path)} == {}


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
def test_a_rewritten_table_has_the_same_rows_and_nothing_else(
    name: str, compression: str, tmp_path: Path
) -> None:
    path = tmp_path / "labels.parquet"
    pq.write_table(TABLES[name], path, compression=compression)
    data = path.read_bytes()
    source = LocalFolder(tmp_path)
    (tmp_path / "a.jpg").touch()
    [sidecar] = ImageFolder(source).sidecars()
    with ImageFolder(source).open_sidecar(sidecar) as file:
        fresh = file.read()
    assert pq.read_table(io.BytesIO(fresh)).to_pylist() == TABLES[name].to_pylist()
    assert pq.read_schema(io.BytesIO(fresh)) == pq.read_schema(path)
    assert REMOVED.encode() not in fresh
    if compression == "NONE" and name == "categories":
        assert REMOVED.encode() in data  # which is what a copy would keep
    with open_compacted(io.BytesIO(fresh)) as again:
        assert again.read() == fresh


def test_bytes_between_the_pages_of_a_table_are_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    pq.write_table(pa.table({"a": list(range(9))}), path, compression="NONE")
    data = path.read_bytes()
    footer = int.from_bytes(data[-8:-4], "little") + 8
    hidden = data[:-footer] + image("JPEG") + data[-footer:]
    assert pq.read_table(io.BytesIO(hidden)).num_rows == 9
    with open_compacted(io.BytesIO(hidden)) as file:
        assert image("JPEG")[:50] not in file.read()


def test_a_file_that_is_not_a_table_is_opened_as_it_is() -> None:
    with open_compacted(io.BytesIO(b"no table")) as file:
        assert file.read() == b"no table"
