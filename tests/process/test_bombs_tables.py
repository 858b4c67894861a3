"""Small hostile Parquet and .npz files, read in a real process by everything that takes tables."""

from __future__ import annotations

import io
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.process.test_bombs import read_all, save_image
from tests.process.test_bombs_images import JPEG

READ = """
import sys
from pathlib import Path
from curate.core.errors import CurateError
from curate.impact.class_names import load_classes
from curate.impact.prediction_files import iter_batches, iter_ids
from curate.layouts import open_source
from curate.layouts.faces import iter_given_faces
from curate.layouts.groups import load_columns, load_groups
from curate.manifest import corrections, store
from curate.manifest.faces import iter_faces


def open_folder(path):
    source = open_source(str(path.parent.parent / "folders" / path.stem), "hf_folder")
    list(source.check())


READERS = {
    ".npz": (iter_ids, iter_batches),
    ".classes": (lambda path: load_classes(str(path)),),
    ".parquet": (
        *(load_columns, load_groups, iter_given_faces, iter_ids, iter_batches, open_folder),
        *(iter_faces, store.iter_part, corrections.iter_part, corrections.iter_weights),
    ),
}
for path in sorted(Path(sys.argv[1]).iterdir()):
    for read in READERS[path.suffix]:
        try:
            for _ in read(path) or ():
                pass
            print(path.name, "read", sep="\\t")
        except CurateError as error:
            print(path.name, str(error), sep="\\t")
"""


# The compact protocol of Thrift, in which footers are written.


def number(value: int) -> bytes:
    value = value << 1 if value >= 0 else (-value << 1) - 1
    return length(value)


def length(value: int) -> bytes:
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def text(value: str) -> bytes:
    return length(len(value)) + value.encode()


def items(kind: int, values: Sequence[bytes]) -> bytes:
    return bytes([0xF0 | kind]) + length(len(values)) + b"".join(values)


def struct_of(fields: Mapping[int, tuple[int, bytes]]) -> bytes:
    data, last = b"", 0
    for key, (kind, value) in sorted(fields.items()):
        data, last = data + bytes([(key - last) << 4 | kind]) + value, key
    return data + b"\0"


def element(name: str, children: int | None = None, repetition: int = 0) -> bytes:
    fields = {3: (5, number(repetition)), 4: (8, text(name))}
    fields |= {1: (5, number(6))} if children is None else {5: (5, number(children))}
    return struct_of(fields | ({6: (5, number(0))} if children is None else {}))


def chunk(name: str, count: int, sizes: tuple[int, int], offset: int = 4, codec: int = 0) -> bytes:
    meta = {1: (5, number(6)), 2: (9, items(5, [number(0)])), 3: (9, items(8, [text(name)]))}
    meta |= {4: (5, number(codec)), 5: (6, number(count)), 9: (6, number(offset))}
    meta |= {6: (6, number(sizes[1])), 7: (6, number(sizes[0]))}
    return struct_of({2: (6, number(offset)), 3: (12, struct_of(meta))})


def group(chunks: Sequence[bytes], rows: int) -> bytes:
    return struct_of({1: (9, items(12, chunks)), 2: (6, number(99)), 3: (6, number(rows))})


def forge(
    groups: Sequence[bytes] = (), rows: int = 0, schema: Sequence[bytes] = (), body: bytes = b""
) -> bytes:
    names = schema or [element("schema", 2), element("id"), element("x")]
    fields = {1: (5, number(2)), 2: (9, items(12, names))}
    fields |= {3: (6, number(rows)), 4: (9, items(12, groups))}
    footer = struct_of(fields)
    return b"PAR1" + body + bytes(100) + footer + struct.pack("<I", len(footer)) + b"PAR1"


def both(count: int, sizes: tuple[int, int] = (50, 50), offset: int = 4) -> list[bytes]:
    return [chunk(name, count, sizes, offset) for name in ("id", "x")]


def lying_page() -> bytes:
    """A page that expands to a gigabyte, which the footer does not list."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, 31)
    size = 1 << 30
    data = squeezer.compress(struct.pack("<I", size))
    data += b"".join(squeezer.compress(bytes(1 << 22)) for _ in range(256)) + squeezer.flush()
    header = {1: (5, number(1)), 2: (5, number(0)), 3: (5, number(3)), 4: (5, number(3))}
    page = {1: (5, number(0)), 2: (5, number(size + 4)), 3: (5, number(len(data)))}
    body = struct_of(page | {5: (12, struct_of(header))}) + data
    chunks = [chunk(name, 1, (len(body), 99), codec=2) for name in ("id", "x")]
    return forge([group(chunks, 1)], 1, body=body)


def column(value: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), [value])


def save_lists(path: Path, value: str, rows: int, count: int) -> None:
    """Lists of one text that a dictionary repeats for every item."""
    offsets = pa.array(range(0, rows * count + 1, count), pa.int32())
    lists = pa.ListArray.from_arrays(offsets, column(value, rows * count))
    ids = [f"{row}.jpg" for row in range(rows)]
    table = {"id": ids, "file_name": ids, "label": [0] * rows, "faces": lists, "topk": lists}
    scores = pa.ListArray.from_arrays(offsets, pa.array(np.zeros(rows * count, np.float32)))
    pq.write_table(pa.table(table | {"scores": scores}), path, compression="zstd",
                   store_schema=False, dictionary_pagesize_limit=1 << 30)  # fmt: skip


def save_prefixes(path: Path) -> None:
    """Texts that repeat almost all of the text before them."""
    ids = [f"{'a' * 500_000}{row}" for row in range(1500)]
    table = pa.table({"id": ids, "label": [0] * 1500, "logits": [[0.0, 1.0]] * 1500})
    encoding = {"id": "DELTA_BYTE_ARRAY"}
    pq.write_table(table, path, compression="zstd", use_dictionary=False, column_encoding=encoding)


def save_rows(path: Path) -> None:
    ids = column("a", 5_000_000)
    pq.write_table(pa.table({"id": ids, "file_name": ids, "label": ids}), path, store_schema=False)


def save_arrays(path: Path, count: int, row: int) -> None:
    """Arrays that claim a number of rows."""
    kinds = {"id": ("<U4", (count,)), "label": ("<i8", (count,)), "logits": ("<f4", (count, row))}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (kind, shape) in kinds.items():
            header = {"descr": kind, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file := io.BytesIO(), header)
            archive.writestr(f"{name}.npy", file.getvalue() + bytes(1 << 24))


def save_members(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(60_000):
            archive.writestr(f"{index}.npy", b"")


TABLES: dict[str, bytes | Callable[[Path], object]] = {
    "length.parquet": b"PAR1" + bytes(99) + b"\xf0\xff\xff\xffPAR1",
    "large.parquet": b"PAR1" + bytes(40 << 20) + struct.pack("<I", 30 << 20) + b"PAR1",
    "groups.parquet": forge([group(both(1), 1)] * 100_000, 100_000),
    "empty_groups.parquet": forge([group([], 0)] * 900_000),
    "chunks.parquet": forge([group([b"\x26\0\0"] * 900_000, 0)]),
    "columns.parquet": forge(schema=[element("schema", 300_000)] + [element("id")] * 300_000),
    "deep.parquet": forge(schema=[element("a", 1)] * 50_000 + [element("id")]),
    "children.parquet": forge(schema=[element("schema", 2**31 - 1), element("id")]),
    "rows.parquet": forge([group(both(10**15), 10**15)], 10**15),
    "negative.parquet": forge([group(both(-5), -5)], -5),
    "offset.parquet": forge([group(both(3, offset=10**12), 3)], 3),
    "overlap.parquet": forge([group(both(3), 3)] * 3, 9),
    "sizes.parquet": forge([group(both(3, (2**40, 2**40)), 3)], 3),
    "small_sizes.parquet": forge([group(both(3, (2**36, 5)), 3)], 3),
    "page.parquet": lying_page(),
    "list.parquet": lambda path: save_lists(path, "A" * 50_000, 1, 1_000_000),
    "lists.parquet": lambda path: save_lists(path, "A" * 60_000_000, 100, 20),
    "items.parquet": lambda path: save_lists(path, "A", 2, 4_000_000),
    "prefixes.parquet": save_prefixes,
    "many_rows.parquet": save_rows,
    "claim.npz": lambda path: save_arrays(path, 10**12, 2),
    "row.npz": lambda path: save_arrays(path, 100, 10**9),
    "members.npz": save_members,
    "pickled.npz": lambda path: np.savez(
        path, id=np.array(["a"], object), label=np.zeros(1), logits=np.zeros((1, 2))
    ),
    "deep.classes": b"[" * 500_000,
    "lines.classes": b"a\n" * 20_000_000,
    "numbers.classes": b"[" + b"1," * 6_000_000 + b"1]",
}


def test_tables_of_every_kind_are_read_in_bounded_memory(tmp_path: Path) -> None:
    tables = tmp_path / "tables"
    tables.mkdir()
    for name, save in TABLES.items():
        save(tables / name) if callable(save) else (tables / name).write_bytes(save)
        if name.endswith(".parquet"):
            folder = tmp_path / "folders" / name.removesuffix(".parquet")
            save_image(folder / "a.jpg")
            shutil.copy(tables / name, folder / "metadata.parquet")
    found = read_all(READ, tables)
    assert found.keys() == TABLES.keys()
    for name, lines in found.items():
        assert lines - {"read"}, name


INSPECT = """
import sys
from pathlib import Path
from curate.core.errors import CurateError
from curate.layouts import explain_no_images, open_source

for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        source = open_source(str(path))
        notes = list(source.check())
        if not sum(1 for _ in source.records()):
            print(path.name, explain_no_images(source), sep="\\t")
            continue
        for container in source.containers():
            notes += source.inspect(container)
        print(path.name, "; ".join(["read", *notes]), sep="\\t")
    except CurateError as error:
        print(path.name, str(error), sep="\\t")
"""


def list_of(values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)


PAIRS = pa.struct({"a": pa.int8(), "b": pa.int8()})
EMPTY = pa.ListArray.from_arrays(pa.array(np.zeros(8_000_001, np.int32)), pa.array([], pa.int8()))
COLUMNS: dict[str, Callable[[], Mapping[str, pa.Array]]] = {
    "items": lambda: {"x": list_of(pa.array(np.zeros(30_000_000, np.int8)))},
    "nulls": lambda: {"x": list_of(pa.nulls(20_000_000))},
    "empty": lambda: {"x": list_of(EMPTY)},
    "structs": lambda: {"x": list_of(pa.nulls(2_000_000, PAIRS))},
    "many": lambda: {str(number): list_of(pa.nulls(4_000_000, pa.int8())) for number in range(9)},
    "columns": lambda: {f"c{number}": pa.nulls(1) for number in range(12_000)},
    "names": lambda: {f"c{number}": pa.nulls(1) for number in range(5000)},
    "texts": lambda: {"x": list_of(column("a" * 50_000, 1_000_000))},
}


def test_image_tables_are_read_in_bounded_memory(tmp_path: Path) -> None:
    images = pa.array([{"bytes": JPEG, "path": "a.jpg"}])
    for name, make in COLUMNS.items():
        table = pa.table({"image": images, **make()})
        for kind in ("parquet", "arrow"):
            (tmp_path / f"{name}_{kind}").mkdir()
        pq.write_table(table, tmp_path / f"{name}_parquet/a.parquet", compression="zstd",
                       store_schema=False)  # fmt: skip
        folder = tmp_path / f"{name}_arrow"
        with pa.ipc.new_stream(folder / "a.arrow", table.schema) as writer:
            writer.write_table(table)
        (folder / "state.json").write_text('{"_data_files": [{"filename": "a.arrow"}]}')
        (folder / "dataset_info.json").write_text("{}")
    found = {name: next(iter(lines)) for name, lines in read_all(INSPECT, tmp_path).items()}
    assert found.keys() == {f"{name}_{kind}" for name in COLUMNS for kind in ("parquet", "arrow")}
    dropped = "read; its columns contain values over the limits of annotations"
    assert {name for name, line in found.items() if line == dropped} == {
        *("items_arrow", "nulls_arrow", "empty_arrow", "structs_arrow", "many_arrow"),
        *("empty_parquet", "structs_parquet"),
    }, found
    assert "30,000,000 items in one row group" in found["items_parquet"]
    assert "more than 16,777,216 items" in found["many_parquet"]
    assert "12,002 columns; at most 10,000" in found["columns_parquet"]
    assert "the names of its 5,001 columns are over" in found["names_arrow"]
