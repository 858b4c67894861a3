from __future__ import annotations

import base64
import gzip
import io
import json
import random
import textwrap
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate.layouts.sidecars import find_pictures

BASE64 = "it holds a picture in base64 or hexadecimal"
NUMBERS = "it holds a picture as numbers"
NO_TEXT = "it is not UTF-8 or UTF-16 text"


def binary(format_name: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((40, 40), 60).convert("RGB").save(file, format_name)
    return file.getvalue()


def encoded(format_name: str) -> str:
    return base64.b64encode(binary(format_name)).decode()


def noise(count: int) -> bytes:
    return random.Random(1).randbytes(count)  # noqa: S311 - the same every time


def pixels(count: int = 48 * 48) -> list[int]:
    return list(noise(count))


FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]
FORMS: dict[str, Callable[[str], bytes]] = {
    "plain": lambda text: json.dumps({"imageData": text}).encode(),
    "uri": lambda text: json.dumps({"src": f"data:image/x;base64,{text}"}).encode(),
    "lines": lambda text: "\n".join(["<data>", *textwrap.wrap(text, 76), "</data>"]).encode(),
    "lines in json": lambda text: json.dumps("\n".join(textwrap.wrap(text, 76))).encode(),
    "utf-16": lambda text: json.dumps([text]).encode("utf-16"),
    "url-safe": lambda text: text.replace("+", "-").replace("/", "_").encode(),
    "slashes": lambda text: json.dumps([text]).replace("/", "\\/").encode(),
    "json in json": lambda text: json.dumps(json.dumps([text]).replace("/", "\\/")).encode(),
    "json escapes": lambda text: text.replace("/", "\\u002F").replace("+", "\\u002b").encode(),
    "percent": lambda text: text.replace("/", "%2F").replace("+", "%2b").encode(),
    "percent twice": lambda text: text.replace("/", "%252F").replace("+", "%252B").encode(),
    "xml": lambda text: f"<a>{text.replace('/', '&#x2F;').replace('+', '&#43;')}</a>".encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("form", FORMS)
def test_a_picture_in_base64_is_found(name: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(FORMS[form](encoded(name)))
    assert find_pictures(path) == BASE64


ISO_MEDIA = b"\0\0\0\x1cftyp%s\0\0\0\0mif1miaf"
HEADS = {
    "heic": ISO_MEDIA % b"heic",
    "avif": ISO_MEDIA % b"avif",
    "jpeg xl in a box": b"\0\0\0\x0cJXL \r\n\x87\n",
    "jpeg xl": b"\xff\x0a\xfa\x1f",
    "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
}


@pytest.mark.parametrize("name", HEADS)
def test_a_picture_that_the_codec_does_not_know_is_found(name: str, tmp_path: Path) -> None:
    data = HEADS[name] + noise(300)
    (tmp_path / "a.json").write_text(json.dumps([base64.b64encode(data).decode()]))
    assert find_pictures(tmp_path / "a.json") == BASE64


@pytest.mark.parametrize("level", [0, 1, 6, 9])
@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress])
def test_a_compressed_picture_is_found(
    level: int, compress: Callable[[bytes, int], bytes], tmp_path: Path
) -> None:
    data = compress(noise(300), level)
    (tmp_path / "a.json").write_text(json.dumps([base64.b64encode(data).decode()]))
    assert find_pictures(tmp_path / "a.json") == BASE64


@pytest.mark.parametrize(
    "encode", [base64.b64encode, base64.b16encode, base64.b32encode, bytes.hex]
)
def test_a_long_word_of_whatever_kind_is_found(
    encode: Callable[[bytes], bytes | str], tmp_path: Path
) -> None:
    word = encode(noise(1000))
    text = word if isinstance(word, str) else word.decode()
    (tmp_path / "a.csv").write_text(f"id,data\n1,{text}\n")
    assert "without a break" in str(find_pictures(tmp_path / "a.csv"))


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    "write",
    [
        lambda data: "\n".join(textwrap.wrap(data.hex(), 60)),
        lambda data: "\\x" + data[:400].hex(),
    ],
)
def test_a_picture_in_hexadecimal_is_found(
    name: str, write: Callable[[bytes], str], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text(write(binary(name)))
    assert find_pictures(tmp_path / "a.txt") == BASE64


@pytest.mark.parametrize(
    "write",
    [
        repr,
        lambda data: json.dumps(data.decode("latin-1")),
        lambda data: json.dumps(data.decode("latin-1"), ensure_ascii=False),
        lambda data: "".join(f"\\{byte:03o}" for byte in data),
        lambda data: ", ".join(f"0x{byte:02x}" for byte in data),
    ],
)
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_bytes_as_escapes_are_found(
    name: str, write: Callable[[bytes], str], tmp_path: Path
) -> None:
    text = write(binary(name)).replace("\x7f", "~")  # JSON leaves this control character as it is
    (tmp_path / "a.txt").write_text(text)
    assert find_pictures(tmp_path / "a.txt") == "it holds bytes as escapes"


def write_fer(values: list[int]) -> str:
    row = " ".join(map(str, values))
    return f"emotion,pixels,Usage\n0,{row},Training\n"


def write_pgm(values: list[int]) -> str:
    return "\n".join(textwrap.wrap(" ".join(map(str, values)), 70))


NUMERIC: dict[str, Callable[[list[int]], str]] = {
    "FER2013": write_fer,
    "a list": lambda values: json.dumps({"pixels": values}),
    "without spaces": lambda values: json.dumps(values, separators=(",", ":")),
    "nested": lambda values: json.dumps(np.reshape(values, (48, 48)).tolist()),
    "indented": lambda values: json.dumps(np.reshape(values, (48, 16, 3)).tolist(), indent=8),
    "numpy": lambda values: str(np.reshape(values, (48, 48)).tolist()),
    "printed": lambda values: np.array2string(np.reshape(values, (48, 48)), threshold=10**6),
    "signed": lambda values: str([value - 128 for value in values]),
    "a table": lambda values: "\n".join(
        ",".join(map(str, row)) for row in np.reshape(values, (8, 288)).tolist()
    ),
    "ASCII PGM without its head": write_pgm,
    "ASCII PGM": lambda values: "P2\n# by hand\n48 48\n255\n" + "\n".join(map(str, values)),
}  # fmt: skip


@pytest.mark.parametrize("form", NUMERIC)
def test_a_picture_as_numbers_is_found(form: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(NUMERIC[form](pixels()))
    assert find_pictures(tmp_path / "a.csv") == NUMBERS


@pytest.mark.parametrize("place", [0, (1 << 20) - 100, (1 << 20) - 5])
@pytest.mark.parametrize("text", [f'"{encoded("JPEG")}"', str(pixels())], ids=["base64", "numbers"])
def test_a_picture_across_blocks_is_found(place: int, text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("." * place + " " + text)
    assert find_pictures(path) in (BASE64, NUMBERS)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff\xe0\x00\x10JFIF",
        b"\xff\xfe" + noise(501),
        b"\xff\xfe" + b"\xff\xd8\xff\xe0\x00\x10JFIF" * 30,
        "caf\u00e9".encode("latin-1"),
        "plain".encode("utf-32"),
        "plain".encode("utf-16-le"),
        b"a\0b",
        b"a\x1bb",
    ],
)
def test_what_is_no_text_stays_behind(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert find_pictures(tmp_path / "a.txt") == NO_TEXT


def encode_runs(runs: list[int]) -> str:
    """COCO's compressed run lengths: differences to the run before last, in five-bit groups."""
    text = []
    for index, run in enumerate(runs):
        rest, more = run - (runs[index - 2] if index > 2 else 0), True
        while more:
            group = rest & 0x1F
            rest >>= 5
            more = rest != (-1 if group & 0x10 else 0)
            text.append(chr(48 + (group | 0x20 if more else group)))
    return "".join(text)


def crowd() -> list[int]:
    """Run lengths of a large mask with many holes in a small image, column by column."""
    return [1 + byte % 90 for byte in noise(60_000)]


ANNOTATIONS = {
    "words": "n02119022 /m/09j/ and plain words " * 50,
    "paths": "\n".join(f"/workspace/faces_{n:06d}/{'deep/' * 9}{n}" for n in range(2000)),
    "digests": json.dumps({"sha256": ["9j" + "ab" * 31] * 20}),
    "compressed runs": json.dumps({"size": [480, 640], "counts": encode_runs(crowd())}),
    "plain runs": json.dumps({"counts": crowd(), "size": [200, 300]}),
    "runs as Python writes them": repr({"size": [480, 640], "counts": encode_runs(crowd())}),
    "polygon": json.dumps([[n * 0.37 % 640 for n in range(4000)]]),
    "whole polygon": json.dumps([{"segmentation": [pixels(800)]} for _ in range(99)]),
    "keypoints": json.dumps([{"keypoints": pixels(51)} for _ in range(999)]),
    "a label per line": "7\n" * 50_000,
    "labels": "\n".join(str(n % 200) for n in range(50_000)),
    "labels of Windows": "7\r\n" * 50_000,
    "boxes": "\n".join("10 20 30 40" for _ in range(5000)),
    "a table of labels": "id,label,fold\n" + "\n".join(f"{n},{n % 9},1" for n in range(5000)),
    "yolo": "0 0.51 0.25 0.125 0.5\n" * 5000,
    "chinese": json.dumps(["\u4e2d\u6587\u6807\u7b7e" * 500]),
    "french": json.dumps(["un \u00e9t\u00e9 \u00e0 No\u00ebl, \u00e7a ira"] * 500),
    "urls": "https://x.org/a?u=https%3A%2F%2Fy.org%2F%E4%B8%AD%E6%96%87.jpg\n" * 500,
    "slashes": json.dumps(["http://images.org/val/1.jpg"] * 99).replace("/", "\\/"),
    "nothing": "",
}


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_annotations_pass(name: str, tmp_path: Path) -> None:
    for suffix in ("json", "txt", "csv", "xml"):
        (tmp_path / f"a.{suffix}").write_text(ANNOTATIONS[name])
        assert find_pictures(tmp_path / f"a.{suffix}") is None
    (tmp_path / "wide.txt").write_text(ANNOTATIONS[name], encoding="utf-16")
    assert find_pictures(tmp_path / "wide.txt") is None
    pq.write_table(pa.table({"x": [ANNOTATIONS[name]]}), tmp_path / "a.parquet")
    assert find_pictures(tmp_path / "a.parquet") is None


def test_runs_that_reach_over_blocks_pass(tmp_path: Path) -> None:
    """Wherever a block ends: in the key, in the value or behind it."""
    line = json.dumps(
        {"counts": encode_runs(crowd()), "size": [9, 9], "plain": {"counts": crowd()}}
    )
    path = tmp_path / "a.json"
    for shift in range(0, len(line), len(line) // 40):
        path.write_text("." * shift + " " + line * ((1 << 20) // len(line) + 2))
        assert find_pictures(path) is None


def test_a_key_of_runs_hides_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"counts": encoded("BMP")}))
    assert find_pictures(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(json.dumps({"counts": [pixels(), []]}))
    assert find_pictures(tmp_path / "a.json") == NUMBERS


def find_in(table: pa.Table, folder: Path) -> str | None:
    pq.write_table(table, folder / "a.parquet")
    return find_pictures(folder / "a.parquet")


@pytest.mark.parametrize(
    "kind",
    [
        pa.binary(),
        pa.large_binary(),
        pa.binary(4),
        pa.list_(pa.binary()),
        pa.struct([("b", pa.binary())]),
        pa.map_(pa.string(), pa.binary()),
        pa.dictionary(pa.int32(), pa.binary()),
    ],
)
def test_a_column_of_bytes_is_found(kind: pa.DataType, tmp_path: Path) -> None:
    column = pa.array([None], kind)
    assert find_in(pa.table({"image": column}), tmp_path) == "its column 'image' holds bytes"


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.uint8()),
        pa.large_list(pa.int8()),
        pa.list_(pa.list_(pa.uint16())),
        pa.list_(pa.int16(), 4),
        pa.struct([("b", pa.list_(pa.uint8()))]),
        pa.map_(pa.string(), pa.uint8()),
    ],
)
def test_a_column_of_lists_of_small_numbers_is_found(kind: pa.DataType, tmp_path: Path) -> None:
    column = pa.array([None], kind)
    found = find_in(pa.table({"image": column}), tmp_path)
    assert found == "its column 'image' holds lists of small numbers"


@pytest.mark.parametrize("scale", [1, 1.0, 1 / 255])
@pytest.mark.parametrize("shape", [(2304,), (48, 48), (16, 48, 3)])
def test_a_list_of_pixels_is_found(scale: float, shape: tuple[int, ...], tmp_path: Path) -> None:
    image = np.reshape([value * scale for value in pixels()], shape).tolist()
    rows = [{"x": {"y": None}}, {"x": {"y": [*image[:3]]}}, {"x": {"y": image}}]
    found = find_in(pa.Table.from_pylist(rows), tmp_path)
    assert found == "its column 'x.y' holds a picture as numbers"


def test_pixels_in_lists_of_fixed_size_are_found(tmp_path: Path) -> None:
    column = pa.array([[300] * 2304, pixels()], pa.list_(pa.int64(), 2304))
    assert "picture" in str(find_in(pa.table({"x": column}), tmp_path))


def test_pixels_spread_over_columns_are_found(tmp_path: Path) -> None:
    table = pa.table({f"p{n}": [value, value] for n, value in enumerate(pixels(784))})
    assert find_in(table, tmp_path) == "it holds 784 columns of small numbers, which may be pixels"


@pytest.mark.parametrize(
    "values",
    [
        ["nothing", encoded("PNG")],
        [write_fer(pixels())],
        [json.dumps([encoded("JPEG")]).replace("/", "\\/")],
    ],
)
@pytest.mark.parametrize("kind", ["plain", "large", "deep", "dictionary", "map"])
def test_a_picture_in_a_text_column_is_found(values: list[str], kind: str, tmp_path: Path) -> None:
    columns = {
        "plain": pa.array(values),
        "large": pa.array(values, pa.large_string()),
        "deep": pa.array([{"deep": values}]),
        "dictionary": pa.array(values).dictionary_encode(),
        "map": pa.array([[("key", value) for value in values]], pa.map_(pa.string(), pa.string())),
    }
    assert find_in(pa.table({"x": columns[kind]}), tmp_path) in (BASE64, NUMBERS)


def test_a_picture_in_the_metadata_is_found(tmp_path: Path) -> None:
    schema = pa.schema([("x", pa.int64())], metadata={"thumbnail": encoded("JPEG")})
    assert find_in(schema.empty_table(), tmp_path) == BASE64
    field = pa.field("x", pa.list_(pa.field("y", pa.int64(), metadata={"t": encoded("PNG")})))
    assert find_in(pa.schema([field]).empty_table(), tmp_path) == BASE64
    schema = pa.schema([("x", pa.int64())], metadata={"thumbnail": binary("JPEG")})
    assert find_in(schema.empty_table(), tmp_path) == "it is not a readable Parquet file"


def test_tables_of_annotations_pass(tmp_path: Path) -> None:
    row = {
        "file_name": "a.jpg",
        "bbox": [1.5, 2.0, 30.0, 40.0],
        "segmentation": [[n * 0.37 % 640 for n in range(4000)]],
        "embedding": [n / 768 - 0.5 for n in range(2048)],
        "mask": {"size": [480, 640], "counts": encode_runs(crowd())},
        "label": 7,
    }
    wide = {f"attribute_{n}": n % 2 for n in range(99)}
    assert find_in(pa.Table.from_pylist([row | wide] * 300), tmp_path) is None


def test_what_is_no_table_stays_behind(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no table")
    assert find_pictures(tmp_path / "a.parquet") == "it is not a readable Parquet file"


def test_the_shared_annotations_pass(shared_data: Path) -> None:
    suffixes = (".json", ".csv", ".txt", ".xml", ".parquet")
    found = [path for path in sorted(shared_data.rglob("*")) if path.suffix.lower() in suffixes]
    assert found
    assert {path: find_pictures(path) for path in found if find_pictures(path)} == {}
