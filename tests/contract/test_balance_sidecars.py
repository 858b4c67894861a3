"""What `curate balance` keeps of files beside the images: what `curate blur` keeps."""

from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate import Recipe, Session
from curate.balance.correct.options import BalanceOptions
from curate.balance.correct.report import Correction
from curate.balance.correct.run import rebalance
from curate.balance.correct.source import BalanceInputs, is_held_out
from curate.core.protocols import iter_containers
from curate.core.records import printable
from curate.layouts import open_source
from curate.manifest import corrections
from curate.pipeline.verify import verify
from tests.contract.test_balance_layouts import sample_of
from tests.contract.test_layouts import EXAMPLES, save_no_faces
from tests.layouts.examples.example import write
from tests.layouts.shards import read_tar, write_tar

NOISE = np.random.default_rng(5)
NUMBER = 0.314159265358979
EMBEDDING = [NUMBER, *NOISE.normal(size=127).tolist()]
LONG = "canary-text" + base64.b64encode(NOISE.bytes(3000)).decode()
EXIF = {"GPSLatitude": "canary-exif"}
FIELDS: Mapping[str, Any] = {"exif": EXIF, "embedding": EMBEDDING, "note": LONG}
CANARIES = (b"canary", repr(NUMBER).encode(), struct.pack("<d", NUMBER))
ONE = Session(workers=1)
KEEP_ALL = BalanceOptions(strategy="subset", by=("group",), tolerance=0.49)


def pollute_json(data: bytes) -> bytes:
    """Add fields to the items of the lists, or to the object, and a value under a key twice."""
    value = json.loads(data)
    lists = [item for key in ("images", "annotations") for item in value.get(key, ())]
    for item in lists or [value]:
        item |= FIELDS
    text = json.dumps(value, ensure_ascii=False)
    return ('{"unused": "canary-unused", "unused": 1, ' + text[1:]).encode()


def pollute_lines(data: bytes) -> bytes:
    rows = [json.loads(line) | FIELDS for line in data.splitlines()]
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def pollute_csv(data: bytes) -> bytes:
    head, *lines = data.decode().splitlines()
    more = '"{""GPSLatitude"": ""canary-exif""}","' + str(EMBEDDING) + f'",{LONG}'
    text = "\n".join([f"{head},exif,embedding,note", *(f"{line},{more}" for line in lines)])
    return f"{text}\n".encode()


def pollute_xml(data: bytes) -> bytes:
    fields = "<exif><GPSLatitude>canary-exif</GPSLatitude></exif>"
    fields += f"<embedding>{' '.join(map(str, EMBEDDING))}</embedding><note>{LONG}</note>"
    return data.replace(b"<size>", f"<!-- canary-unused -->{fields}<size>".encode())


def pollute_yaml(data: bytes) -> bytes:
    fields = {**FIELDS, "exif": json.dumps(EXIF)}
    return data + b"# canary-unused\n" + "".join(
        f"{key}: {json.dumps(value)}\n" for key, value in fields.items()
    ).encode()  # fmt: skip


def with_columns(table: pa.Table) -> pa.Table:
    rows = len(table)
    table = table.append_column("exif", pa.array([json.dumps(EXIF)] * rows))
    table = table.append_column("embedding", pa.array([EMBEDDING] * rows))
    table = table.append_column("thumbnail", pa.array([b"canary-bytes"] * rows))
    return table.append_column("note", pa.array([LONG] * rows))


def pollute_parquet(data: bytes) -> bytes:
    out = io.BytesIO()
    table = pq.read_table(io.BytesIO(data))
    pq.write_table(with_columns(table), out, compression="none", row_group_size=2)
    # Bytes between the pages and the metadata, which readers skip.
    text = out.getvalue()
    size = int.from_bytes(text[-8:-4], "little") + 8
    return text[:-size] + b"canary-unused" + text[-size:]


def pollute_arrow(data: bytes) -> bytes:
    with pa.ipc.open_stream(io.BytesIO(data)) as stream:
        table = with_columns(stream.read_all())
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema.remove_metadata()) as writer:
        writer.write_table(table)
    return out.getvalue() + b"canary-unused"


def pollute_tar(path: Path) -> None:
    members = [
        (name, pollute_json(data) if name.endswith(".json") else data)
        for name, data in read_tar(path)
    ]
    key = members[-1][0].partition(".")[0]
    more = [("json", json.dumps(FIELDS).encode())] if f"{key}.json" not in dict(members) else []
    more += [("txt", LONG.encode()), ("npy", b"\x93NUMPYcanary")]
    write_tar(path, [*members, *((f"{key}.{e}", d) for e, d in more)], uname="canary-unused")


POLLUTE: Mapping[str, Callable[[bytes], bytes]] = {
    ".arrow": pollute_arrow, ".csv": pollute_csv, ".json": pollute_json, ".jsonl": pollute_lines,
    ".parquet": pollute_parquet, ".xml": pollute_xml, ".yaml": pollute_yaml,
}  # fmt: skip
UNKNOWN = ("secret.bin", "secret.npy", "notes/secret.json", "notes/secret.csv", "notes/secret.txt")
COMPANIONS = {
    "train/cat/a.json": b'{"caption": "a cat", "imageData": "canary' + LONG.encode() + b'"}',
    "train/cat/a.txt": b"a cat on a chair\n",
    "train/dog/b.txt": b"0 0.5 0.5 0.2 0.1\n1 0.25 0.5 0.5 1\n",
    "train/cat/a.xml": b"<annotation><filename>a.jpg</filename><size><width>48</width></size>"
    b"<object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>31</ymax>"
    b"</bndbox></object></annotation>",
    "labels.csv": b"file,age\ntrain/cat/a.jpg,3\ntrain/dog/b.png,4\nval/cat/c.jpg,5\n",
    "list.txt": b"2\ncat dog\na.jpg 1 -1\nb.png -1 1\ncanary-unused 1 1\n",
    "rows.jsonl": b'{"file": "train/cat/a.jpg", "age": 3}\n',
}
"""Files of a plain folder that belong to its images."""


def build(layout: str, root: Path, is_polluted: bool = True) -> None:
    """Write the example, with canaries in its annotations and unknown files beside them."""
    example = EXAMPLES[layout]
    root.mkdir()
    example.build(root)
    for name, data in COMPANIONS.items() if layout == "imagefolder" else ():
        write(root, name, data)
    if not is_polluted:
        return
    containers = set(iter_containers(open_source(str(root), layout)))
    names = {*example.written, *containers, *(COMPANIONS if layout == "imagefolder" else ())}
    for path in sorted(root / name for name in names):
        if path.suffix == ".tar":
            pollute_tar(path)
        elif (change := POLLUTE.get(path.suffix)) and path.name != "a.json":
            path.write_bytes(change(path.read_bytes()))
    for name in UNKNOWN:
        write(root, name, b'["canary-unknown", 0.5]\n')


def correct(
    source: Path, out: Path, options: BalanceOptions = KEEP_ALL, target: str = "0.75"
) -> Correction:
    """Correct a dataset; the first image that can be repeated is a group of its own."""
    is_output = (source / "manifest").is_dir()
    opened = open_source(str(source / "data" if is_output else source))
    records = list(opened.records())
    names = [record.id for record in records]
    samples = [sample_of(name) for name in names]
    first = next(
        record.id
        for record in records
        if samples.count(sample_of(record.id)) == 1 and not is_held_out(record.split)
    )
    table, targets = out.with_suffix(".tsv"), out.with_suffix(".csv")
    rows = (f"{printable(name)}\t{'ab'[name != first]}\n" for name in names)
    table.write_text("id\tgroup\n" + "".join(rows))
    targets.write_text(f"group,share\na,{target}\nb,{1 - float(target)}\n")
    inputs = BalanceInputs(
        groups=table, targets=(targets,), visible_faces=True, layout=opened.layout
    )
    return rebalance(str(source), out, options, inputs, ONE, quiet=True)


def files_beside(root: Path) -> dict[str, bytes]:
    """Content of all files that are not images."""
    images = {record.uri for record in open_source(str(root)).records()}
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and str(path.relative_to(root)) not in images
    }


def find_canaries(root: Path) -> list[str]:
    """Files with a canary in their bytes, or in their values if they are compressed."""
    found = []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.suffix == ".parquet" and "records" not in path.parts:
            data += str(pq.read_table(path).to_pylist()).encode()
        found += [str(path) for canary in CANARIES if canary in data]
    return found


@pytest.fixture(params=EXAMPLES)
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_canaries_are_found_where_they_are_put(layout: str, tmp_path: Path) -> None:
    build(layout, tmp_path / "source")
    found = set(find_canaries(tmp_path / "source"))
    assert {str(tmp_path / "source" / name) for name in UNKNOWN} < found


@pytest.mark.parametrize("strategy", ["subset", "oversample"])
def test_nothing_over_the_limits_reaches_the_output(
    layout: str, strategy: str, tmp_path: Path
) -> None:
    build(layout, tmp_path / "source")
    target = "table" if strategy == "oversample" else "uniform"
    options = BalanceOptions(
        strategy=strategy, by=("group",), target=target, tolerance=0.0, max_copies=60
    )
    done = correct(tmp_path / "source", tmp_path / "out", options)
    assert done.report["counts"]["removed" if strategy == "subset" else "made"]
    assert find_canaries(tmp_path / "out/data") == []
    assert [str(problem) for problem in verify(tmp_path / "out", None, 1).problems] == []
    facts = corrections.load_facts(tmp_path / "out/manifest")
    dropped = {key for keys in facts["content"]["dropped"].values() for key in keys}
    if layout != "imagefolder":
        assert dropped >= {"exif", "embedding", "note"}
    assert any(line.startswith("Left out of the annotations: ") for line in done.files)
    listed = (tmp_path / "out/manifest/others.jsonl").read_text()
    lines = [json.loads(line) for line in listed.splitlines()]
    reasons = {line["path"]: line.get("reason") for line in lines}
    assert all(reasons[name] for name in UNKNOWN)
    assert any("secret" in line and "left out" in line for line in done.files)


def test_without_edits_the_annotations_are_those_that_blur_writes(
    layout: str, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    build(layout, source)
    records = [record.id for record in open_source(str(source), layout).records()]
    faces = save_no_faces(records, tmp_path / "faces.parquet")
    curate.blur(
        source,
        tmp_path / "blurred",
        Recipe(),
        Session(faces=faces, workers=1, layout=layout),
        quiet=True,
    )
    correct(source, tmp_path / "out")
    correct(tmp_path / "blurred", tmp_path / "again")
    wanted = files_beside(tmp_path / "blurred/data")
    assert files_beside(tmp_path / "again/data") == wanted
    found = files_beside(tmp_path / "out/data")
    companions = set(COMPANIONS) if layout == "imagefolder" else set()
    assert {name: data for name, data in found.items() if name not in companions} == wanted
    if layout != "imagefolder":
        run = json.loads((tmp_path / "blurred/manifest/run.json").read_text())
        for out in ("out", "again"):
            facts = corrections.load_facts(tmp_path / out / "manifest")
            assert facts["content"]["found"] == run["content"]["found"]
        assert facts["content"]["dropped"] == {}  # nothing is lost twice


def test_honest_annotations_are_read_as_before(layout: str, tmp_path: Path) -> None:
    build(layout, tmp_path / "source", is_polluted=False)
    correct(tmp_path / "source", tmp_path / "out")
    example = EXAMPLES[layout]
    if layout != "imagefolder":
        assert example.load(tmp_path / "out/data") == example.load(tmp_path / "source")
    facts = corrections.load_facts(tmp_path / "out/manifest")
    dropped = {"list.txt": {"lines": 1}, "train/cat/a.json": {"imageData": 1}}
    assert facts["content"]["dropped"] == (dropped if layout == "imagefolder" else {})


def test_no_annotation_of_a_copy_is_dropped(layout: str, tmp_path: Path) -> None:
    build(layout, tmp_path / "source", is_polluted=False)
    options = BalanceOptions(
        strategy="oversample", by=("group",), target="table", tolerance=0.0, max_copies=60
    )
    done = correct(tmp_path / "source", tmp_path / "out", options)
    assert done.report["counts"]["made"]
    if layout != "imagefolder":
        EXAMPLES[layout].load(tmp_path / "out/data")
    facts = corrections.load_facts(tmp_path / "out/manifest")
    keys = {key for dropped in facts["content"]["dropped"].values() for key in dropped}
    assert keys == ({"lines", "imageData"} if layout == "imagefolder" else set())
