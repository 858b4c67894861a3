"""Limits of keys, class names, links, symbols, polygons and documents; names of images are kept."""

from __future__ import annotations

import base64
import io
import json
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from curate.core.errors import DataError
from curate.layouts import open_source
from curate.layouts.coco.rewrite import rewrite_coco
from curate.layouts.rewriters import REWRITERS
from curate.layouts.sidecars.prose import is_prose
from curate.layouts.sidecars.table import rewrite_table
from curate.layouts.sidecars.values import Limits
from curate.layouts.voc.rewrite import rewrite_xml
from curate.layouts.yolo.rewrite import rewrite_config, rewrite_labels, rewrite_names
from curate.pipeline.image_names import ImageNames
from curate.pipeline.inspection import find_excess

NOISE = random.Random(2)  # noqa: S311 - the same every time
PICTURE = NOISE.randbytes(12_000)
BASE64 = base64.b64encode(PICTURE).decode()
LINES = [BASE64[n : n + 90] for n in range(0, len(BASE64), 90)]
PEM = [BASE64[n : n + 64] for n in range(0, len(BASE64), 64)]
SHADES = [[round(128 + 100 * np.sin(x / 9 + y / 5)) for x in range(64)] for y in range(64)]

Rewriter = Callable[..., None]


def rewritten(rewrite: Rewriter, data: bytes, name: str = "a", limits: Limits | None = None) -> Any:
    out = io.BytesIO()
    rewrite(io.BytesIO(data), out, name, limits or Limits(()))
    return out.getvalue()


def count_pieces(data: bytes, pieces: list[str] = LINES) -> int:
    text = data.decode("utf-8", "replace").replace("\\/", "/")
    return sum(piece in text for piece in pieces)


# Names of images

LONG = f"{BASE64[:124].replace('/', '_').replace('+', '-')}.png"
NAMES = (
    LONG,
    "https%3A%2F%2Fscontent.cdn.example%2Fv%2Ft51%2F" + LONG[:60] + "_n.jpg%3Fstp%3Ddst.png",
    "/".join([*[LONG[:60]] * 9, "a.png"]),
    "图" * 80 + ".png",
    "a\x1bb.png",
)


@pytest.fixture
def named(tmp_path: Path) -> Limits:
    """Limits that know a dataset of oddly named images."""
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name, "PNG")
    names = ImageNames(open_source(str(tmp_path), "imagefolder"))
    return Limits((), (), names.has_name, names.match_path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["file_name", "x", "coco_url"])
def test_a_value_that_names_an_image_is_kept(name: str, key: str, named: Limits) -> None:
    above = "https://images.example.org/" if key == "coco_url" else ""
    for value in (above + name, above + name.removesuffix(".png")):
        record = {"id": 1, key: value, "all": [value, value], "inner": {value: value}}
        assert named.record(record) == record
        assert named.record({key: f"https://example.org/{BASE64[:2000]}/{name}"}) == {}
    assert named.content.to_dict()["dropped"] == {"": {key: 2}}


@pytest.mark.parametrize("name", NAMES[:3])
def test_names_of_images_are_kept_in_all_formats(name: str, named: Limits) -> None:
    row = {"file_name": name, "label": 1}
    lines = json.dumps(row).encode() + b"\n"
    assert rewritten(REWRITERS["jsonl"], lines, "a", named) == lines
    table = f"file_name,label\n{name},1\n".encode()
    assert rewritten(REWRITERS["csv"], table, "a", named) == table
    pq.write_table(pa.Table.from_pylist([row]), file := io.BytesIO())
    fresh = rewritten(rewrite_table, file.getvalue(), "a", named)
    assert pq.read_table(io.BytesIO(fresh)).to_pylist() == [row]
    coco = json.dumps({"images": [{"id": 1, **row}], "annotations": []}).encode()
    assert rewritten(rewrite_coco, coco, "a", named) == coco
    voc = f"<annotation><filename>{name}</filename></annotation>".encode()
    assert rewritten(rewrite_xml, voc, "a", named) == voc
    lists = f"images/train/{name}\n".encode()
    assert rewritten(REWRITERS["lines"], lists, "a", named) == lists


def test_the_paths_of_a_manifest_may_be_any_names(tmp_path: Path) -> None:
    deep = "/".join(["d" * 60] * 12)
    rows = [{"id": f"{deep}/{name}", "output_path": name, "reason": None} for name in NAMES]
    path = tmp_path / "part.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert find_excess(path) is None
    rows[3]["output_path"] = BASE64[:3000].replace("/", "_")
    pq.write_table(pa.Table.from_pylist(rows), path)
    found = find_excess(path)
    assert found is not None
    assert "output_path of" in found
    assert "d" * 60 in found
    lines = "".join(json.dumps({"path": row["id"], "carried": False}) + "\n" for row in rows)
    (tmp_path / "others.jsonl").write_text(lines)
    assert find_excess(tmp_path / "others.jsonl") is None
    run = {"content": {"found": {f"{deep}/{NAMES[0]}": {"text": {"caption": 1}}}}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    assert find_excess(tmp_path / "run.json") is None


# Keys

KEYS: dict[str, dict[str, Any]] = {
    "one": {BASE64: 1},
    "lines": dict.fromkeys(LINES, 1),
    "lines of 64": dict.fromkeys(PEM, True),
    "nulls": dict.fromkeys(LINES, None),
    "lists": {line: [] for line in LINES},
    "nested": {"o": dict.fromkeys(LINES, 1)},
    "short pieces": {BASE64[n : n + 20]: 1 for n in range(0, len(BASE64), 20)},
    "deep": {"a": {"b": [{line: 1} for line in LINES]}},
}


@pytest.mark.parametrize("name", KEYS)
def test_keys_hold_no_picture(name: str) -> None:
    keys = {"id": 1, "file_name": "a.png", **KEYS[name]}
    coco = {"images": [keys], "annotations": [{**keys, "image_id": 1}], "info": KEYS[name]}
    pieces = [BASE64[n : n + 20] for n in range(0, len(BASE64), 20)]
    for rewrite, value in (
        (REWRITERS["jsonl"], keys),
        (REWRITERS["json"], keys),
        (REWRITERS["info"], keys),
        (rewrite_coco, coco),
        (rewrite_coco, {**coco, **KEYS[name]}),
    ):
        limits = Limits(())
        data = rewritten(rewrite, json.dumps(value).encode(), "a", limits)
        assert len(set(filter(data.decode().__contains__, pieces))) * 20 <= 4096
        assert limits.content.count_dropped() > 0
    data = rewritten(rewrite_config, yaml.safe_dump({"names": ["x"], **KEYS[name]}).encode())
    assert count_pieces(data) == 0


def test_keys_of_all_records_of_a_file_are_limited_together() -> None:
    rows = [{"file_name": "a.png", BASE64[n : n + 40]: 1} for n in range(0, len(BASE64), 40)]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    fresh = rewritten(REWRITERS["jsonl"], data).decode().splitlines()
    assert sum(len(key) for line in fresh for key in json.loads(line) if key != "file_name") <= 4096


@pytest.mark.parametrize("names", [LINES, PEM, [BASE64]])
def test_columns_with_names_over_the_limits_are_refused(names: list[str]) -> None:
    with pytest.raises(DataError, match="over the limits; rename"):
        rewritten(REWRITERS["csv"], f"file_name,{','.join(names)}\na.png\n".encode())
    pq.write_table(pa.table({name: [1] for name in names}), file := io.BytesIO())
    with pytest.raises(DataError, match="over the limits; rename"):
        rewritten(rewrite_table, file.getvalue())


@pytest.mark.parametrize(
    "keys",
    [
        [f"has_bill_shape::curved_(up_or_down)_{n}" for n in range(312)],
        [f"attribute{n}" for n in range(700)],
        [str(n * 7919) for n in range(700)],
        ["boundingBox", "imageId", "GPSInfo2", "ImageWidth", "pose_3d_17", "isOccluded", "sha256"],
        ["标签", "Größe", "https://example.org/a"],
    ],
)
def test_ordinary_keys_are_kept(keys: list[str]) -> None:
    record = {**dict.fromkeys(keys, None), "id": 1}
    assert Limits(()).record(record) == record
    assert Limits(()).record({"o": record}) == {"o": record}
    header = ",".join(keys)
    data = f"{header}\n{',' * (len(keys) - 1)}\n".encode()
    assert rewritten(REWRITERS["csv"], data) == data


# Class names

SYNSETS = [
    "great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias",
    "n01440764",
    "black-and-tan coonhound",
    "crane",
    "crane",
    "Pekinese, Pekingese, Peke",
    "/m/01g317",
    "001.Black_footed_Albatross",
    "AM General Hummer SUV 2000",
    "人, 行人",
    "aerosol_can.n.01",
]
CLASSES = [*SYNSETS, *(f"class {n}" for n in range(3000)), *(f"n{n:08}" for n in range(3000))]


@pytest.mark.parametrize("form", ["list", "mapping", "texts"])
def test_class_names_are_kept(form: str) -> None:
    value: Any = {"list": CLASSES, "mapping": dict(enumerate(CLASSES)), "texts": CLASSES}[form]
    config = yaml.safe_dump({"train": "a", "names": value}, allow_unicode=True)
    assert yaml.safe_load(rewritten(rewrite_config, config.encode()))["names"] == value
    if form == "list":
        lines = "".join(f"{name}\n" for name in CLASSES).encode()
        assert rewritten(rewrite_names, lines) == lines
        feature = {"label": {"names": CLASSES, "_type": "ClassLabel"}}
        info = json.dumps({"features": feature}, ensure_ascii=False).encode()
        assert rewritten(REWRITERS["info"], info) == info
        metadata = {"huggingface": json.dumps({"info": {"features": feature}})}
        table = pa.table({"label": [1]}).replace_schema_metadata(metadata)
        pq.write_table(table, file := io.BytesIO())
        fresh = pq.read_schema(io.BytesIO(rewritten(rewrite_table, file.getvalue())))
        assert fresh.metadata == {b"huggingface": metadata["huggingface"].encode()}


@pytest.mark.parametrize("names", [LINES, PEM, [BASE64[n : n + 20] for n in range(0, 16000, 20)]])
@pytest.mark.parametrize("key", ["names", "classes", "thumb"])
def test_class_names_hold_no_picture(names: list[str], key: str) -> None:
    for value in (names, dict(enumerate(names))):
        config = yaml.safe_dump({"train": "a", key: value}, width=1 << 30).encode()
        assert count_pieces(rewritten(rewrite_config, config), names) == 0
        info = json.dumps({"features": {"label": {key: value}}}).encode()
        assert count_pieces(rewritten(REWRITERS["info"], info), names) == 0
    with pytest.raises(DataError, match="not a list of class names"):
        rewritten(rewrite_names, "\n".join(names).encode())
    feature = json.dumps({"info": {"features": {"label": {key: names}}}})
    table = pa.table({"label": [1]}).replace_schema_metadata({"huggingface": feature})
    pq.write_table(table, file := io.BytesIO())
    assert pq.read_schema(io.BytesIO(rewritten(rewrite_table, file.getvalue()))).metadata is None
    listed = [{"id": n, "name": name} for n, name in enumerate(names)]
    coco = {"images": [], "annotations": [], "categories": listed, "licenses": listed}
    kept = count_pieces(rewritten(rewrite_coco, json.dumps(coco).encode()), names)
    assert kept * len(names[0]) <= (8192 if len(names[0]) == 20 else 0)


@pytest.mark.parametrize("key", ["pix", "names", "shards"])
def test_a_configuration_holds_no_list_of_pixels(key: str) -> None:
    pixels = [value for row in SHADES for value in row]
    config = yaml.safe_dump({"train": "a", key: pixels}).encode()
    assert yaml.safe_load(rewritten(rewrite_config, config)) == {"train": "a"}
    info = json.dumps({"version": 1, key: pixels}).encode()
    assert json.loads(rewritten(REWRITERS["info"], info)) == {"version": 1}


# Texts

RAMP = " .:-=+*#%@"
ART = "\n".join("".join(RAMP[value * 10 // 256] for value in row) for row in SHADES)
BRAILLE = "\n".join("".join(chr(0x2800 + value) for value in row) for row in SHADES)
PACKED = "".join(
    chr(0x4E00 + (one << 6 | two >> 2))
    for one, two in zip(PICTURE[::2], PICTURE[1::2], strict=True)
)[:4000]
LETTERS = "\n".join("".join("ilcoeamwNM"[value * 10 // 256] for value in row) for row in SHADES)
PROSE = "A man in a blue shirt rides a horse past the old barn. " * 60
RECTANGLES = "".join(
    f'<rect x="{x}" y="{y}" style="fill:rgb({value},{value},{value})"/>\n'
    for y, row in enumerate(SHADES[:40])
    for x, value in enumerate(row[:40])
)
DIGITS = " ".join(str(value) for row in SHADES for value in row)
TEXTS = {
    "a link": f"see https://example.org/{BASE64}",
    "a link of a thousand characters": f"see https://example.org/{BASE64[:1100]}",
    "a data: URL": f"![x](data:image/jpeg;base64,{BASE64[:1700]})",
    "a data: URL in a link": f"https://example.org/?d=data:image/png;base64,{BASE64[:700]}",
    "characters": ART,
    "characters after words": f"a man\n{ART}",
    "characters after prose": f"{PROSE}\n{ART}",
    "letters": LETTERS,
    "Braille": BRAILLE,
    "Braille after words": f"a man smiles\n{BRAILLE}",
    "ideographs": f"a man {PACKED}",
    "base64 after prose": f"{PROSE * 3}\n" + "\n".join(LINES[:20]),
    "digits after prose": f"{PROSE * 4}\n{DIGITS[:3000]}",
    "SVG": f"<svg viewBox='0 0 40 40'>{RECTANGLES}</svg>",
    "HTML": "<table>" + "<td bgcolor='#aabbcc'>" * 200,
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("key", ["caption", "x"])
def test_a_text_holds_no_picture(name: str, key: str) -> None:
    text = TEXTS[name][:16_000]
    limits = Limits(())
    assert limits.record({"id": 1, key: text}) == {"id": 1}
    assert limits.record({"id": 1, key: [text], "o": {key: text}}) == {"id": 1}
    assert limits.content.count_dropped() == 3


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/" + "ab%20cD1/" * 53,
        "看这张照片,一个穿蓝色衬衫的男人骑着马经过旧谷仓。" * 30,
        "青いシャツを着た男性が古い納屋のそばを馬で通り過ぎる。" * 30,
        "파란 셔츠를 입은 남자가 오래된 헛간을 지나 말을 타고 간다. " * 30,
        "नीली कमीज़ पहने एक आदमी पुराने खलिहान के पास घोड़े पर सवार है। " * 30,
        "Ein Mädchen (8 Jahre) spielt – mit dem Hund – im Garten: »Hier!«, ruft es. " * 20,
        "So fun!! 😀😀😀 #summer #beach @friends https://example.org/p/CxYz12AbQ " * 5,
        "| breed | number of dogs |\n|-------|-----|\n| border collie | 12 |\n" * 40,
        "Q: How many dogs are on the photo?\nA: 3 dogs, 2 of them brown (left).\n" * 20,
    ],
)
def test_ordinary_texts_are_kept(text: str) -> None:
    record = {"id": 1, "caption": text}
    assert Limits(()).record(record) == record


DOCUMENTS = {
    **TEXTS,
    "base64 in a longer text": f"{PROSE * 90}\n" + "\n".join(PEM),
    "digits in a longer text": f"{PROSE * 90}\n{DIGITS}",
    "base64 in a comment": f"<!-- {BASE64} -->",
    "hexadecimal": f"{PROSE * 90}\n"
    + "\n".join(PICTURE[n : n + 32].hex() for n in range(0, 6400, 32)),
    "Braille of half": f"{PROSE}\n{BRAILLE * 3}",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_holds_no_picture(name: str) -> None:
    text = f"# Photos\n\nPhotos of people.\n\n{DOCUMENTS[name]}\n"
    with pytest.raises(DataError, match=r"^README\.md contains "):
        rewritten(REWRITERS["document"], text.encode(), "README.md")


def test_a_document_lists_digests_of_files() -> None:
    names = [f"train-{n:05d}.tar" for n in range(64)]
    digests = [PICTURE[32 * n : 32 * n + 32].hex() for n in range(64)]
    for form in ("{digest}  {name}", "| {name} | `{digest}` |", "{name}: {digest}"):
        lines = [form.format(digest=d, name=n) for d, n in zip(digests, names, strict=True)]
        text = f"# Photos\n\n{chr(10).join(lines)}\n"
        assert rewritten(REWRITERS["document"], text.encode()).decode() == text
    for lines in (digests, [f"{n} {d}" for n, d in enumerate(digests)]):
        with pytest.raises(DataError, match="contains encoded data"):
            rewritten(REWRITERS["document"], "\n".join(lines).encode())


def test_the_documents_of_the_project_are_kept() -> None:
    root = Path(__file__).parents[2]
    paths = [*root.glob("*.md"), *root.glob("curate/**/README.md"), *root.glob("manifests/*.md")]
    assert len(paths) > 10
    for path in [*paths, root / "LICENSE"]:
        data = path.read_bytes()
        assert rewritten(REWRITERS["document"], data, path.name) == data


# Numbers


def label_lines(values: Any, width: int) -> list[str]:
    flat = np.reshape(values, -1) / 255
    rows = flat[: len(flat) // width * width].reshape(-1, width)
    return [f"{n % 9} {' '.join(f'{value:.3f}' for value in row)}" for n, row in enumerate(rows)]


@pytest.mark.parametrize("width", [32, 64])
def test_rows_of_pixels_are_no_polygons(width: int, shared_data: Path) -> None:
    for path in sorted((shared_data / "wider" / "images").iterdir())[:12]:
        photo = np.asarray(Image.open(path).convert("L").resize((64, 64)))
        lines = label_lines(photo, width)
        data = "".join(f"{line}\n" for line in lines).encode()
        out = io.BytesIO()
        rewrite_labels(io.BytesIO(data), out, "a.txt", Limits(()), None)
        assert len(out.getvalue().splitlines()) <= len(lines) // 3
        rows = (photo / 255).round(3).tolist()
        kept = Limits(()).record({"segmentation": rows, "masks": {"segmentation": rows[:15]}})
        assert kept == {}


def test_polygons_of_coco_are_kept_as_labels(shared_data: Path) -> None:
    data = json.loads((shared_data / "coco" / "instances.json").read_text())
    lines = []
    sizes = {image["id"]: (image["width"], image["height"]) for image in data["images"]}
    for annotation in data["annotations"]:
        for polygon in annotation["segmentation"] if not annotation["iscrowd"] else ():
            points = np.reshape(polygon, (-1, 2)) / sizes[annotation["image_id"]]
            lines.append(f"0 {' '.join(f'{value:.6f}' for value in points.flatten())}\n")
    for start in range(0, len(lines), 20):
        text = "".join(lines[start : start + 20]).encode()
        out = io.BytesIO()
        rewrite_labels(io.BytesIO(text), out, "a.txt", Limits(()), None)
        assert out.getvalue() == text


@pytest.mark.parametrize("key", ["landmarks", "keypoints", "segmentation"])
def test_pixels_are_no_landmarks(key: str, shared_data: Path) -> None:
    path = sorted((shared_data / "wider" / "images").iterdir())[0]
    photo = np.asarray(Image.open(path).convert("L").resize((38, 38))).flatten()
    pairs = photo[:960].reshape(-1, 2)
    values = {
        "landmarks": photo.astype(float).tolist(),
        "keypoints": [int(value) for x, y in pairs for value in (x, y, 2)],
        "segmentation": (photo / 255).tolist(),
    }
    assert Limits(()).record({key: values[key]}) == {}


# The report

CAPTION = "Photo of the park by jane.doe@example.com, see https://www.facebook.com/jane.doe.1"


def test_addresses_and_links_in_texts_are_reported() -> None:
    limits = Limits()
    record = {"caption": CAPTION, "x": "jane.doe@example.com", "y": "at https://example.org/jane"}
    assert limits.record(record) == record
    assert limits.content.to_dict()["found"] == {
        "": {
            "names": {"caption": 1, "x": 1},
            "text": {"caption": 1},
            "urls": {"caption": 1, "y": 1},
        }
    }
    assert set(Limits(("names",)).record(record)) == {"y"}
    assert set(Limits(("urls",)).record(record)) == {"x"}


VECTOR = [NOISE.gauss(0, 1) for _ in range(128)]


@pytest.mark.parametrize(
    "value",
    [
        {"emb": {f"d{n}": value for n, value in enumerate(VECTOR)}},
        {f"face_{n}": value for n, value in enumerate(VECTOR)},
        {"faces": [{"vec": {str(n): value for n, value in enumerate(VECTOR)}}]},
    ],
)
def test_an_embedding_as_a_mapping_is_dropped(value: dict[str, Any]) -> None:
    limits = Limits()
    kept = limits.record({"id": 1, **value})
    assert "0." not in json.dumps(kept)
    assert limits.content.count_dropped() >= 1


def test_an_embedding_in_columns_is_dropped() -> None:
    columns = {f"face_{n}": [value, value] for n, value in enumerate(VECTOR)}
    pq.write_table(pa.table({"file_name": ["a", "b"], **columns}), file := io.BytesIO())
    fresh = pq.read_table(io.BytesIO(rewritten(rewrite_table, file.getvalue(), "a", Limits())))
    assert fresh.to_pylist() == [{"file_name": name, **dict.fromkeys(columns)} for name in "ab"]
    header = ",".join(columns)
    data = f"file_name,{header}\na,{','.join(map(str, VECTOR))}\n".encode()
    fresh = rewritten(REWRITERS["csv"], data, "a", Limits())
    assert fresh.decode().splitlines()[1] == "a" + "," * 128


@pytest.mark.parametrize("style", [True, False, None])
@pytest.mark.parametrize("size", [3, 40_000])
def test_a_configuration_is_recognized_in_any_style(
    style: bool | None, size: int, tmp_path: Path
) -> None:
    for name in ("images/train/a.png", "labels/train/a.txt"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("0 .5 .5 .2 .2\n")
    value = {"anchors": list(range(size)), "train": "images/train", "names": ["dog"]}
    (tmp_path / "data.yaml").write_text(
        yaml.safe_dump(value, default_flow_style=style, sort_keys=False, width=1 << 20)
    )
    (tmp_path / "other.yaml").write_text("a: 1\n")
    assert open_source(str(tmp_path)).layout == "yolo"


def test_long_texts_are_not_remembered() -> None:
    for text in ("a word " * 9, "a word " * 9_000):
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20):
            assert is_prose(f"{number} {text}" * 3)
        kept = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert kept < 60_000
