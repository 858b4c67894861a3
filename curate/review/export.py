"""Write what a review decided: boxes for ``curate blur --faces``, and outputs made again."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import curate
from curate.core.arguments import checked
from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import CurateError, DataError, UsageError
from curate.core.faces import Face
from curate.layouts.faces import table
from curate.manifest import store
from curate.manifest.faces import (
    FACES,
    INFO,
    VERSION,
    FacesEntry,
    iter_faces,
    load_faces_info,
    select_provenance,
    to_row,
)
from curate.manifest.files import MANIFEST
from curate.pipeline.blur import blur
from curate.pipeline.output import Summary
from curate.pipeline.session import Session
from curate.pipeline.tools import load_provenance, load_recipe
from curate.report.document import Printable
from curate.review import collect, folder
from curate.review.decisions import Decision, final_faces
from curate.review.folder import Inputs
from curate.review.items import Item
from curate.review.journal import NAME, iter_events, last_decisions, load_header
from curate.storage.atomic import sync_file, sync_folder
from curate.storage.parquet import load_schema
from curate.storage.target import check_output

STATES = ("reviewed", "sampled", "not looked at")
"""What an image's state can be, in the column ``review``."""

REVIEWED = FACES.append(pa.field("review", pa.string()))
_BATCH = 1024


@dataclass(frozen=True, slots=True, repr=False)
class Exported(Printable):
    """What was exported.

    Args:
        out: the table.
        images: images in it.
        reviewed: images whose boxes a person has corrected.
        sampled: images that a person has looked at as part of a sample.
        not_looked_at: images that have the detector's boxes.
        withheld: images that could not be shown.
        unexamined: images without an entry in the reviewed file and without a decision, which
            have no row.
        faces: faces in all.
        by_person: faces that a person decided.
        outdated: decisions about other bytes than those that the boxes are for.
        outputs: the review, if it is one of outputs; else None.
    """

    out: str
    images: int
    reviewed: int
    sampled: int
    not_looked_at: int
    withheld: int
    unexamined: int
    faces: int
    by_person: int
    outdated: int
    outputs: str | None = None

    def to_text(self) -> str:
        """What was exported, for a person."""
        lines = [
            f"{self.images:,} images: {self.reviewed:,} reviewed, {self.sampled:,} sampled, "
            f"{self.not_looked_at:,} not looked at, {self.withheld:,} withheld.",
            f"{self.faces:,} faces, {self.by_person:,} of them decided by a person.",
        ]
        if self.unexamined:
            lines.append(
                f"{self.unexamined:,} images were left out, examined by neither a detector nor a "
                "person: complete the review, or give --allow-missing to curate blur."
            )
        if self.outdated:
            lines.append(f"Decisions about other bytes, which were left out: {self.outdated:,}.")
        if self.outputs is None:
            lines.append(f"Next: curate blur SOURCE OUT --faces {shlex.quote(self.out)}")
        else:
            redo = f"curate review redo {shlex.quote(self.outputs)} SOURCE NEW"
            lines.append(f"Next: {redo}, which makes the outputs again with these faces")
        return "\n".join(lines)


@checked
def export_review(review: str | Path | None, out: str | Path) -> Exported:
    """Write the boxes of a review as a table that `curate.blur` takes as ``faces``.

    Every face records whether a person or a detector decided it, and every image has a state:
    ``reviewed``, ``sampled`` or ``not looked at``. Images that were not reviewed keep the
    proposed boxes; those for which nothing was proposed, not even that they have no faces, get
    no row. The digests of the reviewed bytes go along, so that an image that has
    changed since is withheld.

    Args:
        review: the review folder; None for the only one in the current folder.
        out: the Parquet table to write; replaced if it is one of this review.

    Raises:
        DataError: if there is no such review, or its inputs have changed.
        UsageError: if ``out`` cannot be written there.
    """
    path = folder.find_folder(None if review is None else Path(review))
    target = Path(out)
    header, inputs = load_header(path), folder.load_inputs(path)
    _check(target, path, header, inputs)
    tally: Counter[str] = Counter()
    partial = target.with_name(f".{target.name}.partial")
    try:
        with last_decisions(path) as decisions:
            account = _load_account(inputs)
            given = select_provenance(account, str(inputs.faces or inputs.run))["given_faces"]
            account |= {"given_faces": given, "review": _describe(path, header)}
            _write(_iter_rows(inputs, decisions, path, tally), account, tally, partial)
        sync_file(partial)
        partial.replace(target)
        sync_folder(target.parent)
    finally:
        partial.unlink(missing_ok=True)
    return Exported(
        out=str(target),
        images=tally["images"],
        reviewed=tally["reviewed"],
        sampled=tally["sampled"],
        not_looked_at=tally["not looked at"],
        withheld=tally["withheld"],
        unexamined=tally["unexamined"],
        faces=tally["faces"],
        by_person=tally["by_person"],
        outdated=tally["outdated"],
        outputs=None if inputs.run is None else str(path),
    )


@checked
def redo_reviewed(
    review: str | Path | None,
    source: str | Path,
    out: str | Path,
    session: Session | None = None,
    *,
    quiet: bool = False,
) -> Summary:
    """Obfuscate a dataset again with the faces that a review of its outputs has found.

    The recipe is that of the reviewed run, so that every image without a change gives the
    same bytes as before.

    Args:
        review: the review folder of the outputs; None for the only one in the current folder.
        source: the dataset that the run was made from; only read.
        out: the new output folder.
        session: how to run.
        quiet: show no progress and no messages.

    Raises:
        UsageError: if the review is not one of outputs.
        DataError: if SOURCE or the review cannot be used.
    """
    path = folder.find_folder(None if review is None else Path(review))
    inputs = folder.load_inputs(path)
    if inputs.run is None:
        raise UsageError(
            f"{path} is not a review of outputs; export it, and give the table to "
            "curate blur --faces"
        )
    faces, run = path / "reviewed.parquet", store.load_run(Path(inputs.run) / MANIFEST)
    is_new = not faces.exists()
    export_review(path, faces)
    recipe = replace(
        load_recipe(run), faces_sha256=None, faces_match="exact", detector=None,
        weights_sha256=None,
    )  # fmt: skip
    session = replace(
        session or Session(), layout=run["source"]["layout"], faces=faces, allow_missing=True
    )
    try:
        return blur(source, out, recipe, session, quiet=quiet)
    except (UsageError, DataError):
        if is_new:
            faces.unlink(missing_ok=True)
        raise


def _check(target: Path, path: Path, header: Mapping[str, Any], inputs: Inputs) -> None:
    if inputs.faces is not None and target.exists() and target.samefile(inputs.faces):
        raise UsageError(
            f"{target} is the table that is reviewed; name another file, such as reviewed.parquet"
        )
    if target.exists() and not _is_ours(target):
        raise UsageError(f"{target} exists and is not of a review; name another file, or remove it")
    check_output(target, "parquet")
    for key, value in collect.digest_inputs(inputs).items():
        if header.get(key) != value:
            what = inputs.faces or inputs.run
            raise DataError(f"{what} has changed since the review in {path} was begun; "
                            "put it back, or review it again")  # fmt: skip


def _is_ours(target: Path) -> bool:
    try:
        return "review" in (load_faces_info(target) or {})
    except CurateError:
        return False


def _load_account(inputs: Inputs) -> dict[str, Any]:
    """How the boxes of the table were found, as the table states it."""
    account: dict[str, Any] = {}
    if inputs.run is not None:
        run = store.load_run(Path(inputs.run) / MANIFEST)
        kept = ("recipe", "recipe_sha256", "detectors", "given_faces", "libraries")
        account = {key: run[key] for key in kept if key in run}
    elif inputs.faces is not None and table.recognize(Path(inputs.faces)):
        account = load_faces_info(Path(inputs.faces)) or {}
    elif inputs.faces is not None:
        account = load_provenance(Path(inputs.faces))
    account["tool"] = {"name": "curate-dataset", "version": curate.__version__}
    return account


def _describe(path: Path, header: Mapping[str, Any]) -> dict[str, Any]:
    reviewers = {
        event["reviewer"] for _, event in iter_events(path) if event["event"] == "decision"
    }
    return {
        "id": header["review"],
        "task": header["task"],
        "blind": bool(header.get("blind")),
        "reviewers": len(reviewers),
        "journal_sha256": store.digest_file(path / NAME),
    }


def _iter_rows(
    inputs: Inputs, decisions: sqlite3.Connection, path: Path, tally: Counter[str]
) -> Iterator[tuple[FacesEntry, str]]:
    """Every image with its faces after review and its state.

    Images that have decisions and no proposed row come last.
    """
    for entry, digest, examined in _iter_proposed(inputs, path):
        taken = _take(decisions, os.fsencode(entry.id))
        yield from _decide(entry, digest, examined, taken, tally)
    rest = "SELECT DISTINCT id FROM decisions ORDER BY id"
    for (key,) in decisions.execute(rest).fetchall():
        entry = _make_entry(os.fsdecode(key))
        yield from _decide(entry, None, False, _take(decisions, key), tally)


def _take(decisions: sqlite3.Connection, key: bytes) -> list[Decision]:
    """The decisions about an image; none of them is left."""
    rows = decisions.execute(
        "SELECT decision FROM decisions WHERE id = ? ORDER BY reviewer", (key,)
    ).fetchall()
    if rows:
        decisions.execute("DELETE FROM decisions WHERE id = ?", (key,))
    return [Decision.from_dict(json.loads(text)) for (text,) in rows]


def _iter_proposed(inputs: Inputs, path: Path) -> Iterator[tuple[FacesEntry, str | None, bool]]:
    """Every image with its proposed faces, and the digest that decisions must be about.

    The last value is whether the faces are known: without an entry in a file of faces an image
    has no proposed faces because nobody has searched for them.
    """
    if inputs.run is not None:
        for entry in store.iter_entries(Path(inputs.run) / MANIFEST / store.RECORDS_FOLDER):
            yield _from_manifest(entry), entry.output_sha256, True
    elif inputs.faces is not None and _is_whole_table(Path(inputs.faces)):
        for found in iter_faces(Path(inputs.faces)):
            yield found, found.source_sha256, True
    else:
        source = collect.open_reviewed(inputs)
        with collect.collected(inputs, source, path / folder.PROPOSED) as list_items:
            for item in list_items():
                yield _from_item(item), item.sha256, item.examined


def _is_whole_table(faces: Path) -> bool:
    if not table.recognize(faces):
        return False
    return set(FACES.names) <= set(load_schema(faces).names)


def _from_manifest(entry: ManifestEntry) -> FacesEntry:
    withheld = entry.outcome is Outcome.WITHHELD
    return _make_entry(
        entry.id,
        split=entry.split,
        category=entry.category,
        source_sha256=entry.source_sha256,
        source_bytes=entry.source_bytes,
        width=entry.width,
        height=entry.height,
        orientation=entry.orientation,
        reason=entry.reason or "withheld" if withheld else None,
        faces=entry.faces,
    )


def _from_item(item: Item) -> FacesEntry:
    width, height = item.size or (None, None)
    return _make_entry(
        item.record.id,
        split=item.record.split,
        category=item.record.category,
        source_sha256=item.sha256,
        width=width,
        height=height,
        reason=item.note,
        faces=item.faces,
    )


def _make_entry(record_id: str, **known: Any) -> FacesEntry:
    names = ("split", "category", "source_sha256", "source_bytes")
    return FacesEntry(id=record_id, **{**dict.fromkeys(names), **known})


def _decide(
    entry: FacesEntry,
    digest: str | None,
    examined: bool,
    decisions: list[Decision],
    tally: Counter[str],
) -> Iterator[tuple[FacesEntry, str]]:
    """An image after review; decisions about other bytes do not count.

    Nothing for an image that was not examined and about which no person has decided: a row
    without faces would state that it has none.
    """
    current = [each for each in decisions if digest is None or each.sha256 == digest]
    tally["outdated"] += len(decisions) - len(current)
    faces, state = final_faces(current, entry.faces)
    if entry.reason is None and not examined and state == STATES[-1]:
        tally["unexamined"] += 1
        return
    tally["images"] += 1
    if entry.reason is not None:
        tally["withheld"] += 1
        yield entry, STATES[-1]
        return
    tally[state] += 1
    tally["faces"] += len(faces)
    tally["images_with_faces"] += bool(faces)
    tally["by_person"] += sum(face.decided_by == "person" for face in faces)
    if current and digest is None:  # the boxes were for no particular bytes
        width, height = current[-1].size
        entry = replace(entry, source_sha256=current[-1].sha256, width=width, height=height)
    yield replace(entry, faces=_sort(faces)), state


def _sort(faces: Iterable[Face]) -> tuple[Face, ...]:
    return tuple(sorted(faces, key=lambda face: (face.frames, face.box)))


def _write(
    rows: Iterator[tuple[FacesEntry, str]],
    account: Mapping[str, Any],
    tally: Counter[str],
    path: Path,
) -> None:
    with pq.ParquetWriter(path, REVIEWED, compression="zstd") as writer:
        while batch := list(islice(rows, _BATCH)):
            lines = [{**to_row(entry), "review": state} for entry, state in batch]
            writer.write_table(pa.Table.from_pylist(lines, schema=REVIEWED))
        counts = {
            name: tally[name] for name in ("images", "withheld", "images_with_faces", "faces")
        }
        review = {**account["review"], "states": {name: tally[name] for name in STATES}}
        info = {"version": VERSION, **account, "counts": counts, "review": review}
        text = json.dumps(info, sort_keys=True, ensure_ascii=False)
        writer.add_key_value_metadata({INFO.decode(): text})
