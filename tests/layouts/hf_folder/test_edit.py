from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import DataError
from curate.layouts import open_source
from curate.layouts.editing import Outcome
from tests.core.test_affine import mirror
from tests.layouts.editing.outputs import Plan, edit, plan_for
from tests.layouts.examples.example import jpeg, write

FLIP = mirror(48, 40)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for seed, name in enumerate("abc"):
        write(root, f"train/{name}.jpg", jpeg(seed))
    return root


def flipped(root: Path, *names: str, removed: tuple[str, ...] = ()) -> Path:
    """The dataset with mirror images of some."""
    out = root.parent / "out"
    plan, files = plan_for(root, {f"train/{name}.jpg": [FLIP] for name in names})
    plan.removed = frozenset(f"train/{name}.jpg" for name in removed)
    edit(root, out, plan, files)
    assert list(open_source(str(out)).check()) == []
    return out


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_boxes_are_mirrored_and_lines_that_stay_keep_every_byte(root: Path) -> None:
    objects = {"bbox": [[1, 2, 10, 4], [20.5, 0, 3, 3]], "id": [5, 6], "area": [40, 9.0]}
    first = '{"file_name":"./a.jpg",  "objects":' + json.dumps(objects) + ', "n": 1.50}\r\n'
    rest = lines({"file_name": "b.jpg"}, {"file_name": "c.jpg"})
    write(root, "train/metadata.jsonl", first + "\n" + rest)
    out = flipped(root, "a", removed=("c",))
    found = (out / "train/metadata.jsonl").read_bytes().decode().splitlines(keepends=True)
    assert [found[0], *found[2:]] == [first, "\n", lines({"file_name": "b.jpg"})]
    assert found[1].endswith("\r\n")
    assert json.loads(found[1]) == {
        "file_name": "./a_aug1.jpg",
        "objects": {"bbox": [[37, 2, 10, 4], [24.5, 0, 3, 3]], "id": [5, 6], "area": [40, 9.0]},
        "n": 1.5,
    }


def test_objects_as_a_list_and_sizes_are_moved_too(root: Path) -> None:
    objects = [{"bbox": [1, 2, 10, 4], "label": "x"}, {"label": "nowhere"}]
    row = {"file_name": "a.jpg", "width": 48, "height": 40, "objects": objects}
    write(root, "train/metadata.jsonl", lines(row, {"file_name": "b.jpg"}, {"file_name": "c.jpg"}))
    out = flipped(root, "a")
    found = json.loads((out / "train/metadata.jsonl").read_text().splitlines()[1])
    assert found["objects"] == [{"bbox": [37, 2, 10, 4], "label": "x"}, {"label": "nowhere"}]
    assert (found["width"], found["height"]) == (48, 40)


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ({"boxes": [[1, 2, 3, 4]]}, "the column 'boxes' seems to contain coordinates"),
        ({"more": {"keypoints": [1, 2]}}, r"the column 'more\.keypoints' seems"),
        ({"objects": {"bbox": [[1, 2, 3, 4]], "mask": [[1]]}}, r"the column 'mask' seems"),
        ({"objects": {"bbox": [[1, 2, 3, 4]], "id": [1, 2]}}, "lists of different lengths"),
        (
            {"objects": {"bbox": [[1, 2, 3]]}},
            r"objects\[0\]\.bbox is '\[1, 2, 3\]'; expected a list of 4",
        ),
        ({"objects": {"bbox": [[20, 2, 40, 30]]}}, "does not lie in its image as x, y, width"),
        ({"objects": "x"}, "neither a list nor an object"),
        ({"width": 40, "height": 40}, "states an image size of 40×40, but the image has 48×40"),
        ({"mask_file_name": "b.jpg"}, "names several images"),
    ],
)
def test_what_cannot_be_transformed_is_one_line(root: Path, row: dict[str, Any], line: str) -> None:
    rest = [{"file_name": "b.jpg"}, {"file_name": "c.jpg"}]
    write(root, "train/metadata.jsonl", lines({"file_name": "a.jpg", **row}, *rest))
    with pytest.raises(DataError, match=rf"train/metadata\.jsonl, line 1.*{line}") as caught:
        flipped(root, "a")
    assert "\n" not in str(caught.value)


def test_a_row_of_several_images_is_removed_with_all_of_them(root: Path) -> None:
    rows = [{"file_name": "a.jpg", "other_file_name": "b.jpg"}, {"file_name": "c.jpg"}]
    write(root, "train/metadata.jsonl", lines(*rows))
    out = flipped(root, removed=("a", "b"))
    assert (out / "train/metadata.jsonl").read_text() == lines(rows[1])
    with pytest.raises(DataError, match="of which only some are removed"):
        edit(root, root.parent / "two", Plan(removed=frozenset({"train/a.jpg"})))


def test_csv_keeps_its_rows_and_quotes(root: Path) -> None:
    table = 'text,file_name,width,height\r\n"one\r\ntwo, ""x""",a.jpg,48,40\r\nb,"b.jpg",1,1\r\n'
    write(root, "train/metadata.csv", table + "c,c.jpg,,")
    out = flipped(root, "a", "c", removed=("b",))
    assert (out / "train/metadata.csv").read_bytes().decode() == (
        'text,file_name,width,height\r\n"one\r\ntwo, ""x""",a.jpg,48,40\r\n'
        '"one\r\ntwo, ""x""",a_aug1.jpg,48,40\r\nc,c.jpg,,\r\nc,c_aug1.jpg,,\r\n'
    )


def test_parquet_keeps_its_types(root: Path) -> None:
    kind = pa.list_(pa.float32(), 4)
    objects = pa.struct([("bbox", pa.list_(kind)), ("category", pa.list_(pa.int8()))])
    table = pa.table(
        {
            "file_name": ["a.jpg", "b.jpg", "c.jpg"],
            "objects": pa.array([{"bbox": [[1, 2, 10, 4]], "category": [3]}, None, None], objects),
            "n": pa.array([1, 2, 3], pa.uint16()),
        }
    ).replace_schema_metadata({"huggingface": "{}"})
    pq.write_table(table, root / "train/metadata.parquet")
    out = flipped(root, "a", removed=("b",))
    found = pq.read_table(out / "train/metadata.parquet")
    before = pq.read_schema(root / "train/metadata.parquet")
    assert found.schema.equals(before, check_metadata=True)
    assert found["file_name"].to_pylist() == ["a.jpg", "a_aug1.jpg", "c.jpg"]
    assert found["n"].to_pylist() == [1, 1, 3]
    assert found["objects"].to_pylist()[1] == {"bbox": [[37, 2, 10, 4]], "category": [3]}


def test_without_edits_even_an_odd_file_is_the_same(root: Path) -> None:
    write(root, "train/metadata.csv", "\ufefffile_name,x\na.jpg,1\n\nb.jpg,2\nc.jpg,3")
    done = edit(root, root.parent / "out", Plan())
    assert set(done.results.values()) == {Outcome.SAME}
