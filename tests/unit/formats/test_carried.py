from __future__ import annotations

import base64
import io
import json
import textwrap
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate.formats.carried import find_pictures


def encoded(format_name: str) -> str:
    file = io.BytesIO()
    Image.effect_noise((40, 40), 60).convert("RGB").save(file, format_name)
    return base64.b64encode(file.getvalue()).decode()


FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("form", ["plain", "uri", "lines", "utf16", "urlsafe"])
def test_a_picture_in_base64_is_found(name: str, form: str, tmp_path: Path) -> None:
    picture = encoded(name)
    path = tmp_path / "a.json"
    if form == "lines":
        path.write_text("\n".join(["<data>", *textwrap.wrap(picture, 76), "</data>"]))
    elif form == "uri":
        path.write_text(json.dumps({"src": f"data:image/x;base64,{picture}"}))
    elif form == "utf16":
        path.write_text(json.dumps({"imageData": picture}), encoding="utf-16")
    elif form == "urlsafe":
        path.write_text(json.dumps([picture.replace("+", "-").replace("/", "_")]))
    else:
        path.write_text(json.dumps({"imageData": picture}))
    assert find_pictures(path) == "it holds a picture in base64"


@pytest.mark.parametrize("place", [0, (1 << 20) - 100, (1 << 20) - 5])
def test_a_picture_across_blocks_is_found(place: int, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(" " * place + f'"{encoded("JPEG")}"')
    assert find_pictures(path) == "it holds a picture in base64"


def test_a_picture_in_a_text_column_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [{"deep": ["nothing", encoded("PNG")]}]}), path)
    assert find_pictures(path) == "it holds a picture in base64"


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.list_(pa.binary()), pa.struct([("b", pa.binary())])]
)
def test_a_column_of_bytes_is_found(kind: pa.DataType, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": pa.array([None], kind)}), path)
    assert find_pictures(path) == "its column 'image' holds bytes"


def test_what_is_no_text_or_no_table_stays_behind(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF")
    (tmp_path / "a.parquet").write_bytes(b"no table")
    assert find_pictures(tmp_path / "a.txt") == "it is not text"
    assert find_pictures(tmp_path / "a.parquet") == "it is not a readable Parquet file"


@pytest.mark.parametrize(
    "text",
    [
        "n02119022 /m/09j/ and plain words " * 50,
        json.dumps({"counts": "PQk2:f9j0c0L3N2N1O2N100O1O10000O" * 40}),
        json.dumps({"sha256": ["9j" + "ab" * 31] * 20}),
        "",
    ],
)
def test_annotations_pass(text: str, tmp_path: Path) -> None:
    for name in ("a.json", "a.txt", "a.csv", "a.xml"):
        (tmp_path / name).write_text(text)
        assert find_pictures(tmp_path / name) is None
