"""Small hostile files, read in real processes: bounded memory and time, and one clear line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from curate import load_manifest

MAX_MB = 700
MAX_SECONDS = 240  # on a loaded machine; an idle one takes a few

READ = """
import sys
from pathlib import Path
from curate.core.errors import CurateError
from curate.layouts.groups import load_columns, load_groups
from curate.layouts.faces import iter_given_faces

def read_faces(path):
    return sum(1 for _ in iter_given_faces(path))


for path in sorted(Path(sys.argv[1]).iterdir()):
    forms = {".json": (read_faces,), ".txt": (read_faces,)}
    forms[".parquet"] = (load_columns, load_groups, read_faces)
    for read in forms.get(path.suffix, (load_columns, load_groups)):
        try:
            read(path)
            print(path.name, "read", sep="\\t")
        except CurateError as error:
            print(path.name, str(error), sep="\\t")
"""

OPEN = """
import sys
from pathlib import Path
from curate.core.errors import CurateError
from curate.layouts import open_source

for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        source = open_source(str(path))
        count = len(list(source.check())) + sum(1 for _ in source.records())
        print(path.name, "read", sep="\\t")
    except CurateError as error:
        print(path.name, str(error), sep="\\t")
"""


MEASURE = """
import resource, subprocess, sys

done = subprocess.run([sys.executable, "-c", *sys.argv[1:]], capture_output=True, text=True)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
print(done.stdout, done.stderr, sep="")
"""


def measure(script: str, *arguments: object) -> tuple[int, list[str]]:
    """Exit code and lines of a script; memory and time of its processes are checked.

    A process between, because the peak of a process counts from that of the one that starts it.
    """
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, script, *map(str, arguments)],
        capture_output=True, text=True, timeout=MAX_SECONDS, check=True,
    )  # fmt: skip
    first, *lines = done.stdout.splitlines()
    code, peak = map(int, first.split())
    assert peak <= MAX_MB
    return code, lines


def read_all(script: str, folder: Path) -> dict[str, set[str]]:
    """The output of a script for each file of a folder: ``read``, or one line of error."""
    code, lines = measure(script, folder)
    assert code == 0, lines[-5:]
    found: dict[str, set[str]] = {}
    for name, _, text in (line.partition("\t") for line in lines if line):
        assert text.isprintable()
        assert len(text) < 1000
        found.setdefault(name, set()).add(text)
    return found


def save_table(path: Path, **columns: object) -> None:
    pq.write_table(pa.table(columns), path, compression="zstd")


def save_repeated_text(path: Path) -> None:
    """65,536 rows of one text of 100 KB: 6.5 GB from 150 KB."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 65_536, pa.int32()), ["A" * 100_000])
    table = pa.table({"id": [str(number) for number in range(65_536)], "x": texts})
    pq.write_table(table, path, compression="zstd", store_schema=False)


def save_large_pages(path: Path) -> None:
    """A row group of 400 MB from a few KB."""
    table = pa.table({"id": [str(number) for number in range(40)], "x": ["A" * 10_000_000] * 40})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)


TABLES: dict[str, Callable[[Path], object]] = {
    "deep.jsonl": lambda path: path.write_text('{"id": "a", "x": ' + "[" * 65_536),
    "field.csv": lambda path: path.write_text('id,x\na,"' + "A" * 5_000_000 + '"\n'),
    "lines.csv": lambda path: path.write_text('id,x\na,"' + "\n" * 5_000_000 + '"\n'),
    "columns.csv": lambda path: path.write_text("id," + "x," * 100_000 + "\n"),
    "line.jsonl": lambda path: path.write_text('{"id": "' + "A" * 5_000_000 + '"}'),
    "wide.jsonl": lambda path: path.write_text('{"id": 1, "x": [' + "[]," * 1_500_000 + "[]]}"),
    "number.jsonl": lambda path: path.write_text('{"id": ' + "9" * 300_000 + "}"),
    "repeated.parquet": save_repeated_text,
    "pages.parquet": save_large_pages,
    "items.parquet": lambda path: save_table(path, id=["a"], faces=[[{"xyxy": [0.0] * 9_000_000}]]),
    "deep.json": lambda path: path.write_text("[" * 65_536),
    "objects.json": lambda path: path.write_text('[{"file": "a", "x": ' + '{"a":' * 65_536),
    "faces.txt": lambda path: path.write_text(
        "a.jpg\n900000\n" + "1 1 9 9 0 0 0 0 0 0\n" * 900_000
    ),
    "line.txt": lambda path: path.write_text("a.jpg\n1\n" + "1" * 200_000_000),
    "faces.json": lambda path: path.write_text(
        '[{"file": "a.jpg", "faces": [' + '{"xyxy": [0, 0, 1, 1]},' * 250_000 + "0]}]"
    ),
}


def test_tables_are_read_in_bounded_memory(tmp_path: Path) -> None:
    for name, save in TABLES.items():
        save(tmp_path / name)
    found = read_all(READ, tmp_path)
    assert found.keys() == TABLES.keys()
    for name in TABLES.keys() - {"repeated.parquet", "items.parquet"}:  # which hold short rows
        assert found[name] - {"read"}


def save_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16)).save(path)


def entities(encoding: str) -> bytes:
    """XML of nested entities, which expand to 10^9 characters."""
    rows = ["<!ENTITY a0 'aaaaaaaaaa'>"]
    rows += [f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 9)]
    text = f"<?xml version='1.0' encoding='{encoding}'?><!DOCTYPE annotation [{''.join(rows)}]>"
    return f"{text}<annotation><filename>&a8;</filename></annotation>".encode(encoding)


def save_voc(folder: Path) -> None:
    for number, encoding in enumerate(("utf-8", "utf-16", "iso-8859-1")):
        save_image(folder / f"JPEGImages/{number}.jpg")
        (folder / "Annotations").mkdir(exist_ok=True)
        (folder / f"Annotations/{number}.xml").write_bytes(entities(encoding))


def save_yolo(folder: Path) -> None:
    save_image(folder / "images/train/a.jpg")
    aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    aliases += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    (folder / "data.yaml").write_text(f"{aliases}train: images/train\nnames: *a8\n")


def save_deep_json(folder: Path, text: str) -> None:
    save_image(folder / "train/a.jpg")
    for name in ("annotations.json", "train/_annotations.coco.json", "metadata.jsonl"):
        (folder / name).write_text(text)


DATASETS: dict[str, Callable[[Path], object]] = {
    "voc": save_voc,
    "yolo": save_yolo,
    "arrays": lambda folder: save_deep_json(folder, "[" * 65_536),
    "objects": lambda folder: save_deep_json(folder, '{"images": [' + '{"a":' * 65_536),
    "mixed": lambda folder: save_deep_json(folder, '{"images": [' + '[{"a":' * 33_000),
}


def test_datasets_are_opened_in_bounded_memory(tmp_path: Path) -> None:
    for name, save in DATASETS.items():
        (tmp_path / name).mkdir()
        save(tmp_path / name)
    assert read_all(OPEN, tmp_path).keys() == DATASETS.keys()


def test_given_boxes_and_frames_are_bounded(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    pixels = rng.integers(0, 255, (900, 1200, 3), np.uint8)
    for name in ("many", "overlapping", "sound"):
        Image.fromarray(pixels).save(folder / f"{name}.jpg")
    frames = [Image.new("RGB", (1, 1), (number % 256, number // 256, 0)) for number in range(4000)]
    frames[0].save(
        folder / "frames.gif", save_all=True, append_images=frames[1:], duration=[10, 20] * 2000
    )
    x, y = rng.integers(0, 400, (2, 16_000)).tolist()
    faces = {
        "many.jpg": [[x0, y0, x0 + 8, y0 + 8] for x0, y0 in zip(x, y, strict=True)],
        "overlapping.jpg": [
            [x0, y0, x0 + 800, y0 + 500] for x0, y0 in zip(x[:4000], y[:4000], strict=True)
        ],
        "sound.jpg": [[x0, y0, x0 + 9, y0 + 9] for x0, y0 in zip(x[:200], y[:200], strict=True)],
        "frames.gif": [],
    }
    lines = [
        {"file": name, "faces": [{"xyxy": xyxy} for xyxy in boxes]} for name, boxes in faces.items()
    ]
    (tmp_path / "faces.json").write_text(json.dumps(lines))
    options = ["--faces", str(tmp_path / "faces.json"), "--method", "mosaic", "--workers", "1"]
    main = "from curate.cli.main import main; main()"
    code, lines = measure(main, "blur", folder, out, *options)
    assert code == 3, lines
    reasons = {entry.id: str(entry.reason) for entry in load_manifest(out).withheld()}
    assert reasons.keys() == {"many.jpg", "overlapping.jpg", "frames.gif"}
    assert reasons["many.jpg"] == "faces: 16,000 faces; at most 4,096 per image"
    assert "cover the image" in reasons["overlapping.jpg"]
    assert reasons["frames.gif"].startswith("bomb: 4,000 frames")
