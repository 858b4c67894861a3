from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.entries import ManifestEntry, Outcome, Route, Transform
from curate.core.errors import ManifestError, SchemaVersionError
from curate.core.faces import Face
from curate.core.geometry import Box
from curate.manifest import store
from curate.manifest.faces import FACES
from curate.manifest.schema import RECORDS, from_row, to_row
from tests.conftest import ROOT

MANIFESTS = ROOT / "manifests"
text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
numbers = st.floats(0, 4000, allow_nan=False)


@st.composite
def faces(draw: st.DrawFn) -> Face:
    x, y = draw(numbers), draw(numbers)
    box = Box(x, y, x + draw(numbers), y + draw(numbers))
    detectors = tuple(sorted(draw(st.sets(text, max_size=3))))
    confidence = draw(st.none() | st.floats(0, 1))
    decided_by = draw(st.sampled_from(["detector", "file", "person"]))
    frames = tuple(sorted(draw(st.sets(st.integers(0, 2**31 - 1), min_size=1, max_size=3))))
    return Face(box, confidence, detectors, decided_by, frames)


@st.composite
def entries(draw: st.DrawFn) -> ManifestEntry:
    found = tuple(draw(st.lists(faces(), max_size=3)))
    return ManifestEntry(
        id=draw(text),
        split=draw(st.none() | text),
        category=draw(st.none() | text),
        source_path=draw(text),
        source_sha256=draw(st.none() | text),
        source_bytes=draw(st.none() | st.integers(0, 2**40)),
        width=draw(st.none() | st.integers(1, 2**20)),
        orientation=draw(st.none() | st.integers(1, 8)),
        outcome=draw(st.sampled_from(list(Outcome))),
        reason=draw(st.none() | text),
        route=draw(st.none() | st.sampled_from(list(Route))),
        faces=found,
        hidden=tuple(face.box for face in found),
        transforms=tuple(
            Transform(draw(text), "1", {"a": draw(st.none() | st.integers(-9, 9) | st.booleans())})
            for _ in found
        ),
        blurred_share=draw(st.none() | st.floats(0, 1)),
    )


@given(entries())
def test_an_entry_equals_itself_after_a_round_trip_through_the_table(entry: ManifestEntry) -> None:
    table = pa.Table.from_pylist([to_row(entry)], schema=RECORDS)
    assert from_row(table.to_pylist()[0]) == entry


@given(st.lists(entries(), max_size=5, unique_by=lambda entry: entry.id))
def test_a_part_is_read_back_sorted_by_id(found: list[ManifestEntry]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "part-00000.parquet")
        store.save_part(found, path)
        assert list(store.iter_part(path)) == sorted(found, key=lambda entry: entry.id)


def columns(fields: pa.Schema | pa.StructType, prefix: str = "") -> dict[str, str]:
    """Names and types as records-1.md writes them."""
    found = {}
    for field in fields:
        name, kind = f"{prefix}{field.name}", field.type
        if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
            found[name] = "list<struct>"
            found |= columns(kind.value_type, f"{name}.")
        else:
            written = re.sub(r"list<\w+: (\w+)>", r"list<\1>", str(kind))
            mark = "?" if field.nullable and prefix in ("", "faces.") else ""
            found[name] = written + mark
    return found


@pytest.mark.parametrize(("page", "schema"), [("records-1.md", RECORDS), ("faces-1.md", FACES)])
def test_the_documented_columns_are_those_written(page: str, schema: pa.Schema) -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (\S+) \|", (MANIFESTS / page).read_text(), re.M)
    documented = {name: kind.replace("&lt;", "<").replace("&gt;", ">") for name, kind in rows}
    written = columns(schema)
    assert list(documented) == list(written)
    for name, kind in documented.items():
        assert kind.rstrip("?") == written[name].rstrip("?"), name


def test_the_committed_manifest_is_still_read() -> None:
    run = store.load_run(MANIFESTS / "demo")
    found = list(store.iter_entries(MANIFESTS / "demo" / "records"))
    tally = store.Tally()
    for entry in found:
        tally.add(entry)
    assert tally.to_dict() == run["counts"]
    assert tally.faces > 0
    assert tally.withheld == 1
    assert run["records"]["sha256"] == store.digest_parts(MANIFESTS / "demo" / "records")


def test_the_committed_run_keeps_the_schema() -> None:
    schema = json.loads((MANIFESTS / "run-1.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads((MANIFESTS / "demo" / "run.json").read_text()), schema)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ('{"schema_version": 2}', SchemaVersionError, "upgrade curate-dataset"),
        ('{"schema_version": 0}', ManifestError, "does not exist"),
        ("{}", ManifestError, "has no schema version"),
        ("[]", ManifestError, "not a JSON object"),
        ("{", ManifestError, "cannot be read"),
    ],
)
def test_a_run_that_cannot_be_read_is_one_clear_line(
    content: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(error, match=message):
        store.load_run(tmp_path)


def test_an_output_without_a_manifest_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is not an output"):
        store.load_run(tmp_path)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    for number in (0, 2):
        store.save_part([], tmp_path / store.part_name(number))
    with pytest.raises(ManifestError, match="part-00001"):
        list(store.iter_entries(tmp_path))


def test_a_damaged_part_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / store.part_name(0)).write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(ManifestError, match="part-00000"):
        list(store.iter_entries(tmp_path))
