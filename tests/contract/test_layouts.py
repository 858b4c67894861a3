"""What every layout of datasets must keep; an example of a layout is a file in tests/layouts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate import Recipe, Session
from curate.codec import CodecOptions
from curate.core.errors import CurateError, DataError
from curate.core.faces import Region
from curate.core.geometry import Box
from curate.core.protocols import AliasedSource, AnnotatedSource, Frame
from curate.engine.shards import Shard
from curate.layouts import LAYOUTS, open_folder, open_source, recognize
from curate.layouts.access.folder import LocalFolder
from curate.layouts.faces.boxes import GivenFaces
from curate.layouts.files import FileLayout
from curate.pipeline.image import Tools
from curate.pipeline.shard import process_images
from curate.pipeline.sidecars import ANNOTATIONS, CAPTION, rewrite_sidecars
from curate.pipeline.verify import iter_problems
from curate.pipeline.workspace import Workspace
from tests.conftest import InProcess
from tests.layouts.examples.example import Example, accept_maps, load_examples, write

EXAMPLES = load_examples()
BROKEN = [(layout, name) for layout, example in EXAMPLES.items() for name in example.broken]
MALFORMED = [(layout, name) for layout, item in EXAMPLES.items() for name in item.malformed]
ODD = [(layout, name) for layout, example in EXAMPLES.items() for name in example.odd]
MEMORY_MB = 40


class Identity:
    """Hides nothing: what is left of a dataset then is what a layout and the codec do to it."""

    name = "identity"
    version = "1"
    keeps = "everything"
    parameters: Mapping[str, Any] = {}

    def apply(self, image: Frame, regions: Sequence[Region]) -> Frame:
        return image.copy()

    def reach(self, regions: Sequence[Region], width: int, height: int) -> list[Box]:
        return [Box(0, 0, width, height)]


class OneFace:
    """One face in every image."""

    def find(self, record_id: str) -> GivenFaces | None:
        return GivenFaces(record_id, (Box(8, 8, 20, 20),))


@pytest.fixture(params=list(EXAMPLES))
def example(request: pytest.FixtureRequest) -> Example:
    return EXAMPLES[request.param]


@pytest.fixture
def source(example: Example, tmp_path: Path) -> Path:
    return build(example, tmp_path)


def build(example: Example, folder: Path) -> Path:
    root = folder / "source"
    root.mkdir()
    example.build(root)
    return root


def save_no_faces(ids: Iterable[str], path: Path) -> Path:
    rows = [{"id": name, "faces": []} for name in ids]
    kind = pa.schema(
        [("id", pa.string()), ("faces", pa.list_(pa.struct([("xyxy", pa.list_(pa.float64()))])))]
    )
    pq.write_table(pa.Table.from_pylist(rows, kind), path)
    return path


def blur(example: Example, source: Path, tmp_path: Path) -> Path:
    """Run the main job as if somebody had looked at every image and found no face."""
    faces = save_no_faces(example.splits, tmp_path / "faces.parquet")
    out = tmp_path / "out"
    curate.blur(source, out, Recipe(), Session(faces=faces, workers=1))
    return out


def test_every_layout_whose_images_are_files_has_an_example() -> None:
    kinds = {name: LAYOUTS.resolve(name) for name in LAYOUTS}
    assert {name for name, kind in kinds.items() if issubclass(kind, FileLayout)} <= set(EXAMPLES)


def test_auto_recognizes_it_and_no_other_layout_does(example: Example, source: Path) -> None:
    layout, why = recognize(open_folder(str(source)))
    assert layout == example.layout
    assert why
    assert "\n" not in why


def test_annotations_are_returned_by_record_id(example: Example, source: Path) -> None:
    opened = open_source(str(source))
    found: dict[str, list[Mapping[str, Any]]] = {}
    rows = opened.annotations(example.columns) if isinstance(opened, AnnotatedSource) else ()
    for name, row in rows:
        said = {column: row[column] for column in example.columns if column in row}
        found.setdefault(name, []).append(said)
    assert found == dict(example.rows)
    aliases = set(opened.aliases()) if isinstance(opened, AliasedSource) else set()
    assert aliases == example.aliases
    assert {name for _, name in example.aliases} | found.keys() <= set(example.splits)


def test_recognizing_walks_no_tree_and_lists_no_class(
    example: Example, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        write(source, f"n{number}/a.jpg", b"")
    listed: list[str] = []
    names = LocalFolder.list_names

    def note(self: LocalFolder, path: str = "") -> frozenset[str]:
        found = names(self, path)
        listed.extend([path] if found else [])
        return found

    def refuse(self: LocalFolder) -> None:
        raise AssertionError("the whole tree is walked")

    monkeypatch.setattr(LocalFolder, "list_names", note)
    monkeypatch.setattr(LocalFolder, "files", refuse)
    assert LAYOUTS.resolve(example.layout).recognize(open_folder(str(source)))
    assert not [path for path in listed if path.startswith("n")]


def test_two_layouts_in_one_folder_are_an_error_that_names_the_options(tmp_path: Path) -> None:
    root = build(EXAMPLES["coco"], tmp_path)
    EXAMPLES["yolo"].build(root)
    with pytest.raises(DataError, match=r"use --format coco \(.*\) or --format yolo \(.*\)$"):
        open_source(str(root))
    assert open_source(str(root), "yolo").layout == "yolo"


def test_records_are_sorted_and_unique_with_their_splits(example: Example, source: Path) -> None:
    opened = open_source(str(source))
    records = list(opened.records())
    ids = [record.id for record in records]
    assert ids == sorted(set(ids), key=str.encode)
    assert {record.id: record.split for record in records} == dict(example.splits)
    assert list(open_source(str(source)).records()) == records
    assert [opened.find(name) for name in ids] == records
    assert opened.find("nothing/of/that/name.jpg") is None
    for record in records:
        assert opened.size(record) in (None, len(opened.read(record)))
        assert opened.stamp(record) == opened.stamp(record)


def test_records_can_be_read_in_another_process(tmp_path: Path) -> None:
    wanted, asked = [], []
    for layout, example in EXAMPLES.items():
        (tmp_path / layout).mkdir()
        opened = open_source(str(build(example, tmp_path / layout)))
        records = list(opened.records())
        digests = [hashlib.sha256(opened.read(record)).hexdigest() for record in records]
        wanted.append([layout, digests])
        asked.append([opened.uri, layout, [[record.id, record.uri] for record in records]])
    code = (
        "import hashlib, json, sys\n"
        "from curate.core.records import ImageRecord\n"
        "from curate.layouts import open_source\n"
        "found = []\n"
        "for place, layout, records in json.load(sys.stdin):\n"
        "    source = open_source(place, layout)\n"
        "    data = [source.read(ImageRecord(id=name, uri=uri)) for name, uri in records]\n"
        "    found.append([layout, [hashlib.sha256(each).hexdigest() for each in data]])\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(asked), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == wanted


def test_a_remote_dataset_is_what_the_same_one_on_a_disk_is(example: Example, source: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(f"{source}/", f"/{example.layout}/", recursive=True)
    try:
        place = f"memory://{example.layout}"
        ours, theirs = open_source(place), open_source(str(source))
        assert (ours.layout, ours.uri) == (example.layout, place)
        assert list(ours.check()) == list(theirs.check())
        records = list(theirs.records())
        assert list(ours.records()) == records
        for record in records:
            assert ours.find(record.id) == record
            assert ours.size(record) == theirs.size(record)
            assert ours.read(record) == theirs.read(record)
        others = list(theirs.sidecars())
        assert list(ours.sidecars()) == others
        for other in others:
            with ours.open_sidecar(other) as one, theirs.open_sidecar(other) as two:
                assert one.read() == two.read()
    finally:
        memory.rm(f"/{example.layout}", recursive=True)


def test_every_sidecar_file_is_listed_once(example: Example, source: Path) -> None:
    write(source, "clip.mp4", b"\0\1\2")
    opened = open_source(str(source))
    others = list(opened.sidecars())
    paths = [str(other.path) for other in others]
    assert paths == sorted(set(paths), key=str.encode)
    assert {str(other.path) for other in others if other.copied} == example.copied
    assert "clip.mp4" in paths
    for other in others:
        if other.copied:
            with opened.open_sidecar(other) as file:
                assert file.read() == (source / other.path).read_bytes()


def test_a_valid_dataset_gives_no_note(example: Example, source: Path) -> None:
    assert list(open_source(str(source)).check()) == []


def test_a_run_without_faces_changes_no_byte_and_its_reader_sees_no_difference(
    example: Example, source: Path, tmp_path: Path
) -> None:
    before = open_source(str(source))
    out = blur(example, source, tmp_path)
    after = open_source(str(out / "data"), example.layout)
    assert list(after.records()) == list(before.records())
    for record in before.records():
        assert after.read(record) == before.read(record), record.id
    for path in example.written:
        assert (out / "data" / path).read_bytes() == (source / path).read_bytes(), path
    assert example.load(out / "data") == example.load(source)
    assert list(iter_problems(out, source, 1)) == []


def test_an_identity_obfuscator_gives_every_lossless_image_back(
    example: Example, source: Path
) -> None:
    opened = open_source(str(source))
    records = list(opened.records())
    tools = Tools(None, OneFace(), Identity(), 0.0, CodecOptions())
    seen = 0
    for record in records:
        [(entry, data)] = process_images([record], Shard(0, (record,)), opened, tools)
        assert entry.reason is None
        assert entry.faces
        if opened.read(record).startswith(b"\x89PNG"):
            assert data == opened.read(record)
            seen += 1
    assert seen


@pytest.mark.parametrize(("layout", "name"), BROKEN)
def test_what_is_malformed_is_one_line_and_nothing_is_written(
    layout: str, name: str, tmp_path: Path
) -> None:
    source = build(EXAMPLES[layout], tmp_path)
    damage, line = EXAMPLES[layout].broken[name]
    damage(source)
    told: list[str] = []
    with pytest.raises(CurateError, match=line) as caught:
        curate.blur(source, tmp_path / "out", Recipe(), Session(layout=layout, notify=told.append))
    assert isinstance(caught.value, DataError)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert told == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("layout", "name"), MALFORMED)
def test_malformed_annotations_are_one_note_or_if_strict_an_error(
    layout: str, name: str, tmp_path: Path
) -> None:
    source = build(EXAMPLES[layout], tmp_path)
    damage, line = EXAMPLES[layout].malformed[name]
    damage(source)
    opened = open_source(str(source), layout)
    notes = list(opened.check())
    assert len([note for note in notes if re.search(line, note)]) == 1, notes
    assert all("\n" not in note and len(note) < 400 for note in notes)
    with pytest.raises(DataError, match=rf"{line}.*; fix it") as caught:
        list(open_source(str(source), layout).check(strict=True))
    assert "\n" not in str(caught.value)
    there = {path for path in EXAMPLES[layout].splits if (source / path).exists()}
    assert {record.id for record in opened.records()} == there


@pytest.mark.parametrize(("layout", "name"), MALFORMED)
def test_malformed_annotations_are_written_or_left_out_by_name_or_an_error_with_a_way_out(
    layout: str, name: str, tmp_path: Path
) -> None:
    source = build(EXAMPLES[layout], tmp_path)
    EXAMPLES[layout].malformed[name][0](source)

    def written(number: int, **options: Any) -> set[str]:
        workspace = Workspace(tmp_path / f"out{number}")
        workspace.prepare()
        recipe = Recipe(**{key: tuple(value) for key, value in options.items()})
        done = rewrite_sidecars(workspace, open_source(str(source), layout), recipe, accept_maps)
        named = (CAPTION, ANNOTATIONS)
        return {line["path"] for line in done.lines() if line["carried"] or line["reason"] in named}

    files = {path for path in EXAMPLES[layout].written if (source / path).is_file()}
    failed = ""
    try:
        found = written(0)
    except DataError as error:
        failed = str(error)
        found = written(1, include=re.findall(r"--include '(.+)'$", failed))
    assert "\n" not in failed
    assert files <= found


@pytest.mark.parametrize("layout", [name for name, item in EXAMPLES.items() if item.malformed])
def test_malformed_annotations_do_not_stop_obfuscation(layout: str, tmp_path: Path) -> None:
    example, told = EXAMPLES[layout], []
    source = build(example, tmp_path)
    for damage, _ in example.malformed.values():
        with contextlib.suppress(AssertionError, FileNotFoundError):  # some exclude each other
            damage(source)
    ids = {path for path in example.splits if (source / path).exists()}
    faces = save_no_faces(ids, tmp_path / "faces.parquet")
    session = Session(layout=layout, faces=faces, workers=1, notify=told.append)
    recipe = Recipe(include=("*.json", "*.jsonl", "*.csv", "*.parquet", "*.xml", "*.txt", "*.yaml"))
    curate.blur(source, tmp_path / "out", recipe, session)
    assert any("; the first: " in line for line in told)
    assert {r.id for r in open_source(str(tmp_path / "out/data"), layout).records()} == ids


@pytest.mark.parametrize(("layout", "name"), ODD)
def test_what_is_odd_is_one_note_with_an_example(layout: str, name: str, tmp_path: Path) -> None:
    source = build(EXAMPLES[layout], tmp_path)
    damage, line = EXAMPLES[layout].odd[name]
    damage(source)
    notes = list(open_source(str(source), layout).check())
    assert len([note for note in notes if re.search(line, note)]) == 1, notes


@pytest.mark.parametrize("layout", [name for name, item in EXAMPLES.items() if item.broken])
def test_the_command_line_reports_malformed_annotations(
    layout: str, tmp_path: Path, in_process: InProcess
) -> None:
    source = build(EXAMPLES[layout], tmp_path)
    name = next(iter(EXAMPLES[layout].broken))
    EXAMPLES[layout].broken[name][0](source)
    out = tmp_path / "out"
    done = in_process("blur", source, out, "--format", layout)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("curate: ")
    assert not out.exists()


def test_the_command_line_reports_the_layout(
    example: Example, source: Path, tmp_path: Path, in_process: InProcess
) -> None:
    faces = save_no_faces(example.splits, tmp_path / "faces.parquet")
    done = in_process("blur", source, tmp_path / "out", "--faces", faces)
    assert done.returncode == 0, done.stderr
    first, *_ = done.stderr.splitlines()
    assert first.startswith(f"SOURCE is {example.layout}: ")
    assert first.count(f"{example.layout}: ") == 1


@pytest.mark.slow
@pytest.mark.parametrize("count", [200_000, pytest.param(1_000_000, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("layout", [name for name, item in EXAMPLES.items() if item.crowd])
def test_many_annotations_of_one_image_need_no_more_memory(
    layout: str, count: int, tmp_path: Path
) -> None:
    def peak(count: int) -> int:
        root = tmp_path / str(count)
        root.mkdir()
        crowd = EXAMPLES[layout].crowd
        assert crowd is not None
        crowd(root, count)
        code = (
            "import resource, sys\n"
            "from curate.layouts import open_source\n"
            "assert list(open_source(sys.argv[1], sys.argv[2]).check()) == []\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(root), layout], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert peak(count) < peak(1_000) + MEMORY_MB
