from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import DataError
from curate.layouts import open_source
from curate.layouts.editing import rebuild_edited
from tests.core.test_affine import mirror
from tests.layouts.editing.outputs import Plan, edit, plan_for
from tests.layouts.examples.example import jpeg, png
from tests.layouts.shards import read_tar, write_tar
from tests.layouts.tables.samples import IMAGE, table, write_arrow, write_parquet

FLIP = mirror(48, 40)
OBJECTS = {"bbox": [[1, 2, 10, 4]], "category": [3]}
MOVED = {"bbox": [[37, 2, 10, 4]], "category": [3]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def samples(root: Path, *members: tuple[str, bytes]) -> None:
    write_tar(root / "0.tar", list(members))


def names(path: Path) -> list[str]:
    return [name for name, _ in read_tar(path)]


def test_a_generated_sample_follows_its_source_with_its_texts(root: Path) -> None:
    said = json.dumps({"objects": OBJECTS, "text": "é"}, ensure_ascii=False).encode()
    samples(
        root,
        ("./x/a.json", said),
        ("./x/a.jpg", jpeg(1)),
        ("./x/a.cls", b"3"),
        ("b.jpg", jpeg(2)),
        ("b.cls", b"4"),
    )
    plan, files = plan_for(root, {"0.tar/x/a.jpg": [FLIP, None]})
    plan.removed = frozenset({"0.tar/b.jpg"})
    done = edit(root, root.parent / "out", plan, files)
    found = dict(read_tar(root.parent / "out/0.tar"))
    assert list(found) == [
        f"./x/{stem}.{ending}"
        for stem in ("a", "a_aug1", "a_aug2")
        for ending in ("json", "jpg", "cls")
    ]
    assert json.loads(found["./x/a_aug1.json"]) == {"objects": MOVED, "text": "é"}
    assert found["./x/a_aug2.json"] == said == found["./x/a.json"]
    assert found["./x/a_aug1.jpg"] == files["0.tar/x/a_aug1.jpg"]
    assert found["./x/a_aug1.cls"] == b"3"
    kept = {"0.tar/x/a.jpg", *files}
    assert done.placed == {name: name for name in kept}


@pytest.mark.parametrize(
    ("member", "line"),
    [
        (("a.json", b'{"boxes": [[1, 2, 3, 4]]}'), r"0\.tar/a\.json: the column 'boxes' seems"),
        (("a.json", b'[{"bbox": [1]}]'), r"0\.tar/a\.json: .*'\.?bbox' seems"),
        (("a.json", b"{"), r"0\.tar/a\.json is not valid JSON"),
        (("a.bbox.txt", b"1 2 3 4"), r"0\.tar/a\.bbox\.txt seems to contain coordinates"),
        (("a.seg.png", png(3)), "sample 'a' of '0.tar' has several images"),
        (("a_aug1.cls", b"1"), "has a sample 'a_aug1' already"),
    ],
)
def test_a_sample_that_cannot_be_transformed_is_one_line(
    root: Path, member: tuple[str, bytes], line: str
) -> None:
    samples(root, ("a.jpg", jpeg(1)), member)
    plan, files = plan_for(root, {"0.tar/a.jpg": [FLIP]})
    with pytest.raises(DataError, match=line) as caught:
        edit(root, root.parent / "out", plan, files)
    assert "\n" not in str(caught.value)


def test_a_sample_keeps_its_texts_while_one_of_its_images_is_kept(root: Path) -> None:
    samples(root, ("a.jpg", jpeg(1)), ("a.seg.png", png(3)), ("a.cls", b"1"))
    edit(root, root.parent / "out", Plan(removed=frozenset({"0.tar/a.jpg"})))
    assert names(root.parent / "out/0.tar") == ["a.seg.png", "a.cls"]
    both = frozenset({"0.tar/a.jpg", "0.tar/a.seg.png"})
    edit(root, root.parent / "none", Plan(removed=both))
    assert names(root.parent / "none/0.tar") == []


def test_a_withheld_image_is_left_out_with_its_sample(root: Path) -> None:
    samples(root, ("a.jpg", jpeg(1)), ("a.cls", b"1"), ("b.jpg", jpeg(2)), ("b.cls", b"2"))
    source = open_source(str(root))
    plan, _ = plan_for(root, {"0.tar/b.jpg": [None]})

    def image_bytes(record_id: str) -> bytes | None:
        return None if record_id in ("0.tar/a.jpg", "0.tar/b_aug1.jpg") else b"b"

    target, placed = io.BytesIO(), dict[str, str]()
    left = list(rebuild_edited(source, "0.tar", plan, image_bytes, target, placed.__setitem__))
    (root.parent / "0.tar").write_bytes(target.getvalue())
    assert names(root.parent / "0.tar") == ["b.jpg", "b.cls"]
    assert [(str(item.path), item.reason) for item in left] == [
        ("0.tar/a.cls", "its image was removed")
    ]
    assert placed == {"0.tar/b.jpg": "0.tar/b.jpg"}


def content(**columns: Any) -> pa.Table:
    images = [{"bytes": jpeg(n), "path": f"{n}.JPG"} for n in range(3)]
    kind = pa.struct(
        [("bbox", pa.list_(pa.list_(pa.float32()))), ("category", pa.list_(pa.int64()))]
    )
    given = {
        "image": pa.array([*images, None, {"bytes": jpeg(9), "path": None}], IMAGE),
        "objects": pa.array([OBJECTS, None, OBJECTS, None, None], kind),
    }
    return table(5, **(given | columns))


@pytest.fixture(params=["parquet", "arrow"])
def tables(request: pytest.FixtureRequest, root: Path) -> Any:
    """Writes a table in one of the two layouts; gives the container's path."""

    def build(given: pa.Table) -> str:
        if request.param == "parquet":
            write_parquet(root / "0.parquet", given, row_group_size=2)
            return "0.parquet"
        return write_arrow(root, given).name

    return build


def read(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.read_table(path)
    with pa.ipc.open_stream(path) as stream:
        return stream.read_all()


def test_rows_are_dropped_and_added_after_their_source(root: Path, tables: Any) -> None:
    container = tables(content())
    ids = [f"{container}/{row:08d}" for row in range(5)]
    plan, files = plan_for(root, {ids[0]: [FLIP, None], ids[4]: [None]})
    plan.removed = frozenset({ids[1], ids[4]})
    done = edit(root, root.parent / "out", plan, files)
    found = read(root.parent / "out" / container)
    assert found.schema.equals(read(root / container).schema, check_metadata=True)
    rows = found.to_pylist()
    assert [row["text"] for row in rows] == [f"row {n}" for n in (0, 0, 0, 2, 3, 4)]
    assert [row["objects"] for row in rows] == [OBJECTS, MOVED, OBJECTS, OBJECTS, None, None]
    paths = [row["image"] and row["image"]["path"] for row in rows]
    assert paths == ["0.JPG", "0_aug1.JPG", "0_aug2.JPG", "2.JPG", None, None]
    after = open_source(str(root.parent / "out"))
    for record_id, output_id in done.placed.items():
        record = after.find(output_id)
        assert record is not None
        original = open_source(str(root)).find(record_id)
        wanted = files[record_id] if original is None else open_source(str(root)).read(original)
        assert after.read(record) == wanted
    assert set(done.placed) == {ids[0], ids[2], *files}
    assert rows[4]["image"] is None


def test_columns_with_geometry_are_refused_by_name(root: Path, tables: Any) -> None:
    container = tables(content(keypoints=pa.array([[1.0]] * 5)))
    plan, files = plan_for(root, {f"{container}/00000002": [FLIP]})
    with pytest.raises(DataError, match=r", row 3: the column 'keypoints' seems"):
        edit(root, root.parent / "out", plan, files)
    plan, files = plan_for(root, {f"{container}/00000002": [None]})
    edit(root, root.parent / "two", plan, files)


def test_rows_of_several_images_lose_them_one_by_one(root: Path, tables: Any) -> None:
    second = pa.array([{"bytes": png(n), "path": f"{n}.png"} for n in range(5)], IMAGE)
    container = tables(content(mask=second))
    first = [f"{container}/00000000/image", f"{container}/00000000/mask"]
    edit(root, root.parent / "one", Plan(removed=frozenset(first[:1])))
    rows = read(root.parent / "one" / container).to_pylist()
    assert len(rows) == 5
    assert rows[0]["image"] is None
    assert rows[0]["mask"]["bytes"] == png(0)
    done = edit(root, root.parent / "both", Plan(removed=frozenset(first)))
    assert len(read(root.parent / "both" / container)) == 4
    assert done.placed[f"{container}/00000001/mask"] == f"{container}/00000000/mask"
    plan, files = plan_for(root, {first[0]: [None]})
    with pytest.raises(DataError, match="row 1 has several images"):
        edit(root, root.parent / "two", plan, files)
    alone = f"{container}/00000003/mask"
    plan, files = plan_for(root, {alone: [None]})
    done = edit(root, root.parent / "three", plan, files)
    rows = read(root.parent / "three" / container).to_pylist()
    assert rows[4]["mask"]["path"] == "3_aug1.png"
    assert done.placed[f"{container}/00000003_aug1/mask"] == f"{container}/00000004/mask"


def test_a_table_can_lose_all_its_rows(root: Path, tables: Any) -> None:
    container = tables(content())
    gone = frozenset(record.id for record in open_source(str(root)).records())
    edit(root, root.parent / "out", Plan(removed=gone))
    assert read(root.parent / "out" / container)["text"].to_pylist() == ["row 3"]
