from __future__ import annotations

import base64
import contextlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin

import curate
from curate import Recipe, Session
from curate.core.errors import DataError
from curate.core.protocols import iter_containers, iter_sidecars
from curate.layouts import open_source
from curate.layouts.encodings import as_utf8
from curate.layouts.sidecars.values import Limits
from curate.pipeline.image_names import ImageNames

CANARY = b"CANARYxYELLOWx7731"
TEXT = CANARY.decode()


def plant(photos: Path, folder: Path) -> None:
    """Photos with the canary in what surrounds the pixels, and beside them."""
    with Image.open(photos / "train/people/portrait.jpg") as portrait:
        image = portrait.copy()
    exif = Image.Exif()
    exif[0x010E] = exif[0x013B] = exif[0x8298] = TEXT
    exif[0x9286] = CANARY
    extra = b"\xff\xfe\x00\x14" + CANARY + b"\xff\xed" + bytes([0, 30]) + b"Photoshop\0" + CANARY
    for name in ("face.jpg", "cut_off.jpg"):
        image.save(folder / name, exif=exif, comment=CANARY, quality=90)
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:2] + extra[:22] + data[2:] + CANARY)
    whole = (folder / "cut_off.jpg").read_bytes()
    (folder / "cut_off.jpg").write_bytes(whole[: len(whole) // 2])
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", TEXT)
    info.add_text("Zipped", TEXT * 9, zip=True)
    info.add_itxt("XML:com.adobe.xmp", TEXT)
    image.save(folder / "face.png", pnginfo=info, exif=exif)
    image.save(folder / "face.webp", exif=exif, xmp=CANARY, lossless=True)
    image.save(folder / "face.tif", exif=exif, description=TEXT)
    image.convert("P").save(folder / "face.gif", comment=CANARY)
    image.save(folder / "face.bmp")
    with (folder / "face.bmp").open("ab") as file:
        file.write(CANARY)


def everything(out: Path) -> Iterator[tuple[Path, bytes]]:
    for path in out.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            yield path, data
            start = 0
            while (start := data.find(b"\x78", start)) >= 0:  # zlib streams inside
                with contextlib.suppress(zlib.error):
                    yield path, zlib.decompressobj().decompress(data[start:])
                start += 1


def test_no_canary_leaves_its_source(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, temporary = tmp_path / "source", tmp_path / "tmp"
    source.mkdir()
    temporary.mkdir()
    plant(photos, source)
    monkeypatch.setenv("TMPDIR", str(temporary))
    summary = curate.blur(source, tmp_path / "out", Recipe(profile="fast"), Session(workers=1))
    assert summary.reasons == {"truncated": 1}
    assert summary.faces == 6
    for place in (tmp_path / "out", temporary):
        leaking = {str(path) for path, data in everything(place) if CANARY in data}
        assert leaking == set()


# Annotations

XML = (
    "<annotation>{}<filename>a.jpg</filename><object{}><name>dog</name>{}"
    "<bndbox><xmin>1</xmin>{}<ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"
)
IN_XML = {
    "a comment": f"<!-- {TEXT} -->",
    "an instruction": f"<?x {TEXT}?>",
    "text": TEXT,
    "literal text": f"<![CDATA[{TEXT}]]>",
    "a tag": f"<t{TEXT}{'aB3dE5' * 19}/>",
    "an attribute": f'<t {TEXT}{"aB3dE5" * 19}="1"/>',
}
AROUND_XML = {
    "a comment before": f"<!-- {TEXT} -->{XML.format('', '', '', '')}",
    "a comment after": f"{XML.format('', '', '', '')}<!-- {TEXT} -->",
    "text after": f"{XML.format('', '', '', '')}{TEXT}",
    "an encoding": f'<?xml version="1.0" encoding="{TEXT}"?>{XML.format("", "", "", "")}',
    "an entity": f'<!DOCTYPE annotation [<!ENTITY x "{TEXT}">]>{XML.format("", "", "", "")}',
    "an attribute of an object": XML.format("", f' x="{TEXT}{"aB3dE5" * 19}"', "", ""),
    **{
        f"{name} at {place}": XML.format(*(hidden if n == place else "" for n in range(4)))
        for name, hidden in IN_XML.items()
        for place in (0, 2, 3)
    },
}
JSON = '{{"info": {{{}}}, "images": [{{"id": 1, {}"file_name": "a.jpg"}}], "annotations": []{}}}{}'
IN_COCO = {
    "a repeated key": JSON.format("", f'"file_name": "{TEXT}", ', "", ""),
    "an escaped key": JSON.format("", f'"file_nam\\u0065": "{TEXT}", ', "", ""),
    "a repeated key of a document": JSON.format(f'"a": "{TEXT}", "a": 1', "", "", ""),
    "a repeated value": JSON.format("", "", f', "x": "{TEXT}", "x": 1', ""),
    "a repeated list": JSON.format("", "", f', "images": [{{"id": 2, "file_name": "{TEXT}"}}]', ""),
    "a comment": JSON.format("", "", f" /* {TEXT} */", ""),
    "text after": JSON.format("", "", "", f" {TEXT}"),
    "zeros after": JSON.format("", "", "", f"\0{TEXT}"),
    "a mark inside": JSON.format("", "", f', "x": \ufeff"{TEXT}"', ""),
}
YAML = "train: images/train\nnames: [dog]\n"
IN_YAML = {
    "comments": f"# {TEXT}\n{YAML}# {TEXT}\n",
    "an anchor": f"{YAML}x: &{TEXT} 1\n",
    "a tag": f"{YAML}x: !{TEXT} 1\n",
    "a repeated key": f"x: {TEXT}\n{YAML}x: 1\n",
    "a directive": f"%TAG ! tag:{TEXT},2000:\n---\n{YAML}",
    "a second document": f"{YAML}---\nx: {TEXT}\n",
    "text after": f"{YAML}...\n{TEXT}\n",
}
BOX = "0 .5 .5 .1 .1"
IN_LABELS = {
    "a comment": f"# {TEXT}\n{BOX} # {TEXT}\n",
    "a zero": f"{BOX}\0{TEXT}\n",
    "a long class": f"{TEXT}{TEXT} .5 .5 .1 .1\n",
}
IN_LIST = {
    "a comment": f"# {TEXT}\nimages/train/a.jpg # {TEXT}\n",
    "a folder": f"/{TEXT}{'aB3dE5' * 19}/images/train/a.jpg\n",
    "a number": f"images/train/a.jpg {TEXT}\n",
}
IN_CSV = {
    "a cell after the last": f"file_name,x\na.jpg,1,{TEXT}\n",
    "text after a quote": f'file_name,x\na.jpg,"1"{TEXT}\n',
    "a repeated column": f"file_name,x,x\na.jpg,{TEXT},1\n",
    "a zero": f"file_name,x\na.jpg,1\0{TEXT}\n",
}
IN_JSON_LINES = {
    "a repeated key": f'{{"file_name": "a.jpg", "x": "{TEXT}", "x": 1}}\n',
    "text after": f'{{"file_name": "a.jpg"}} {TEXT}\n',
    "a line of its own": f'{{"file_name": "a.jpg"}}\n# {TEXT}\n',
}
FILES = {
    **{f"voc {name}": ("Annotations/a.xml", text) for name, text in AROUND_XML.items()},
    **{f"coco {name}": ("instances.json", text) for name, text in IN_COCO.items()},
    **{f"yolo {name}": ("data.yaml", text) for name, text in IN_YAML.items()},
    **{f"labels {name}": ("labels/train/a.txt", text) for name, text in IN_LABELS.items()},
    **{f"list {name}": ("train.txt", text) for name, text in IN_LIST.items()},
    **{f"csv {name}": ("metadata.csv", text) for name, text in IN_CSV.items()},
    **{f"jsonl {name}": ("metadata.jsonl", text) for name, text in IN_JSON_LINES.items()},
}
IMAGES = {"voc": "JPEGImages", "yolo": "images/train", "labels": "images/train"} | {
    "list": "images/train"
}
LAYOUTS = {"labels": "yolo", "list": "yolo", "csv": "hf_folder", "jsonl": "hf_folder"}


def write_again(source: Any) -> Iterator[bytes]:
    """The annotations and containers of a dataset as they are written, and what these contain."""
    names = ImageNames(source)
    limits = Limits((), (), names.has_name, names.match_path)
    for other in iter_sidecars(source):
        if other.format:
            out = io.BytesIO()
            with contextlib.suppress(DataError), as_utf8(source.open_sidecar(other), "x") as file:
                source.rewrite_sidecar(other, file, out, limits)
            yield out.getvalue()
    for container in iter_containers(source):
        out = io.BytesIO()
        with contextlib.suppress(DataError):
            list(source.rebuild(container, lambda _: b"image", out, limits))
        yield out.getvalue()
    yield json.dumps(limits.content.to_dict()).encode()


def find_canary(data: bytes) -> bool:
    if data.startswith(b"PAR1"):
        metadata = pq.read_metadata(io.BytesIO(data)).metadata or {}
        data += base64.b64decode(metadata.get(b"ARROW:schema", b""))
    return CANARY in data


@pytest.mark.parametrize("name", FILES)
def test_no_canary_is_an_annotation(name: str, tmp_path: Path) -> None:
    kind, (path, text) = name.split()[0], FILES[name]
    files = {path: text, f"{IMAGES.get(kind, '.')}/a.jpg": ""}
    if LAYOUTS.get(kind) == "yolo":
        files["data.yaml"] = YAML.replace("images/train", "train.txt") if kind == "list" else YAML
    for each, content in files.items():
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / each).write_text(content, encoding="utf-8")
    written = list(write_again(open_source(str(tmp_path), LAYOUTS.get(kind, kind))))
    assert len(written) > 1
    assert not any(map(find_canary, written))


HIDDEN = {"k": TEXT}
STRING = pa.array(["a", TEXT])
MASK = pa.array([False, True])
OFFSETS = pa.array([0, 1, 2], pa.int32())
INNER = pa.field("n", pa.int64(), metadata=HIDDEN)
STRUCT = pa.StructArray.from_arrays([STRING], ["n"], mask=MASK)
COLUMNS = {
    "an unused category": pa.DictionaryArray.from_arrays(OFFSETS[:2], pa.array(["a", "b", TEXT])),
    "a category below a null": pa.DictionaryArray.from_arrays(
        pa.array([0, None], pa.int8()), STRING
    ),
    "below a missing struct": STRUCT,
    "below a missing struct in a list": pa.ListArray.from_arrays(OFFSETS, STRUCT),
    "below a missing list": pa.ListArray.from_arrays(OFFSETS, STRING, mask=MASK),
    "below a missing pair": pa.FixedSizeListArray.from_arrays(STRING, 1, mask=MASK),
    "after the last item": pa.ListArray.from_arrays(pa.array([0, 1, 1], pa.int32()), STRING),
    "metadata in a struct": pa.array([{"n": 1}, {"n": 2}], pa.struct([INNER])),
    "metadata in a list": pa.array([[1], [2]], pa.list_(INNER)),
    "metadata in a map": pa.array([[("a", 1)], []], pa.map_(pa.string(), INNER)),
    "a name in a struct": pa.array([{f"{TEXT}{'aB3dE5' * 19}": 1}] * 2),
    "a time zone": pa.array([1, 2], pa.timestamp("us", f"A/{TEXT}{'aB3dE5' * 19}")),
}


def schema_with(kind: pa.DataType, hidden: bool) -> pa.Schema:
    own = HIDDEN if hidden else None
    image = pa.struct([pa.field("bytes", pa.binary(), metadata=own), pa.field("path", pa.string())])
    fields = [pa.field("image", image, metadata=own), pa.field("x", kind, metadata=own)]
    return pa.schema(fields, own)


@pytest.mark.parametrize("name", [*COLUMNS, "metadata", "bytes after the stream"])
@pytest.mark.parametrize("kind", ["arrow", "parquet", "sidecar"])
def test_no_canary_is_in_a_table(name: str, kind: str, tmp_path: Path) -> None:
    column = COLUMNS.get(name, pa.array([1, 2]))
    if kind == "arrow" and pa.types.is_dictionary(column.type):
        pytest.skip("refused")
    images = [{"bytes": b"image", "path": "a.png"}, None]
    schema = schema_with(column.type, name == "metadata")
    content = pa.table([pa.array(images, schema.field(0).type), column], schema=schema)
    if kind == "arrow":
        (tmp_path / "dataset_info.json").write_text("{}")
        state = {"_data_files": [{"filename": "a.arrow"}], "_split": None}
        (tmp_path / "state.json").write_text(json.dumps(state))
        with pa.ipc.new_stream(tmp_path / "a.arrow", schema) as writer:
            writer.write_batch(content.to_batches()[0], custom_metadata=HIDDEN)
        with (tmp_path / "a.arrow").open("ab") as file:
            file.write(CANARY)
    else:
        plain = content if kind == "parquet" else content.select(["image"])
        pq.write_table(plain, tmp_path / "a.parquet", compression="NONE")
        if kind == "sidecar":
            pq.write_table(content.select(["x"]), tmp_path / "b.parquet", compression="NONE")
    layout = "arrow" if kind == "arrow" else "parquet"
    written = list(write_again(open_source(str(tmp_path), layout)))
    assert len(written) > 1
    assert not any(map(find_canary, written))


HEADERS: dict[str, dict[str, Any]] = {
    "uname": {"uname": TEXT},
    "gname": {"gname": TEXT},
    "linkname": {"linkname": TEXT},
    "a comment": {"pax_headers": {"comment": TEXT}},
    "an attribute": {"pax_headers": {"SCHILY.xattr.user.x": TEXT}},
    "numbers": {"mtime": 1234567.5, "uid": 1234, "devmajor": 5},
}


@pytest.mark.parametrize("name", [*HEADERS, "global", "padding", "after the end"])
def test_no_canary_is_in_a_tar_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    common = {"comment": TEXT} if name == "global" else {}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers=common) as tar:
        for member, data in (("1.jpg", b"\xff\xd8\xff"), ("1.cls", b"3"), ("d", b"")):
            info = tarfile.TarInfo(member)
            info.size, info.type = len(data), tarfile.DIRTYPE if member == "d" else tarfile.REGTYPE
            for key, value in HEADERS.get(name, {}).items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    data = path.read_bytes()
    if name == "padding":
        path.write_bytes(data.replace(b"3" + bytes(99), b"3" + CANARY + bytes(99 - len(CANARY))))
    elif name == "after the end":
        path.write_bytes(data + CANARY.ljust(512, b"\0"))
    written = list(write_again(open_source(str(tmp_path), "webdataset")))
    assert len(written) > 1
    assert not any(map(find_canary, written))
    assert b"1234567" not in written[0]
