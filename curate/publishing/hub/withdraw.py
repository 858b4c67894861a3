"""Take images out of an OUT on a person's request, so that its manifest still verifies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curate.core.entries import WITHDRAWN, ManifestEntry, Outcome
from curate.core.errors import DataError, UsageError, WithheldError
from curate.core.protocols import ContainerSource, SidecarFile, SidecarSource, Source
from curate.layouts.editing import Outcome as Edit
from curate.layouts.editing import open_editor
from curate.layouts.editing.changes import REMOVED, Removals
from curate.layouts.sidecars.values import Limits
from curate.layouts.tables.edit import rebuild_without
from curate.layouts.tables.layout import TableLayout
from curate.manifest import store
from curate.manifest.checksums import save_checksums
from curate.manifest.files import MANIFEST
from curate.manifest.others import iter_others
from curate.pipeline.inspection import inspect_output
from curate.publishing.dataset import Dataset
from curate.storage.atomic import open_atomic, sync_file, sync_folder
from curate.storage.index import NameIndex
from curate.storage.regular import iter_short_lines, open_regular

REASON = f"{WITHDRAWN}: on request"
_WORK = ".withdraw"
_MENTIONS = 20


@dataclass(slots=True)
class _Edited:
    """What became of the annotation files.

    Args:
        changes: digest and size of the files in OUT that change, by path.
        dropped: files that belong to a withdrawn image.
        notes: files that may still name one, with the reason.
    """

    changes: dict[str, tuple[str, int]] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def withdraw(dataset: Dataset, ids: Collection[str]) -> list[str]:
    """Remove images and their annotations, and record that they were withdrawn.

    Annotations are edited aside first, so that nothing has changed if one cannot be edited. Then
    the manifest lists the new files, these replace the old ones, and the images are removed; a
    run that is interrupted is finished by the same command.

    Args:
        dataset: the OUT of ``curate blur``.
        ids: records, by id.

    Returns:
        Annotation files that may still name one of the images, each with a note.

    Raises:
        UsageError: if an id is not a record, or OUT is of a correction.
        DataError: if annotations cannot be edited.
    """
    if dataset.is_correction:
        raise UsageError(
            "--withdraw is for the OUT of curate blur; withdraw the images there, and run "
            "curate balance again"
        )
    wanted = set(ids)
    unknown = wanted - {item.id for item in dataset.items() if item.id in wanted}
    if unknown:
        raise UsageError(f"--withdraw {sorted(unknown)[0]!r} is not a record of {dataset.out}")
    manifest, work = dataset.out / MANIFEST, dataset.out / _WORK
    shutil.rmtree(work, ignore_errors=True)
    try:
        edited = _edit_sidecars(dataset, frozenset(wanted), work)
        _rewrite_parts(manifest, wanted)
        if dataset.in_containers:
            edited.changes |= _rebuild(dataset, wanted)
        _note_files(manifest / store.OTHERS, edited)
        _replace_files(dataset, edited, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not dataset.in_containers:
        for record_id in sorted(wanted):
            (dataset.data / record_id).unlink(missing_ok=True)
            _remove_empty(dataset.data / record_id, dataset.data)
    _rewrite_run(manifest)
    return edited.notes


def _edit_sidecars(dataset: Dataset, wanted: frozenset[str], work: Path) -> _Edited:
    """Edit the annotation files beside the images, without changing OUT.

    Raises:
        DataError: if one cannot be edited.
    """
    source, edited = dataset.open(), _Edited()
    known = NameIndex()
    for line in iter_others(dataset.out / MANIFEST):
        # An interrupted run may have listed a file as removed that is still there.
        if line.carried or line.reason == REMOVED:
            known.add("listed", line.path)
    if next(known.names("listed"), None) is None or not isinstance(source, SidecarSource):
        return edited
    limits = Limits((), dataset.facts["recipe"].get("include", ()))
    editor = open_editor(source, Removals(wanted.__contains__), limits.includes)
    for other in source.sidecars():
        if known.get("listed", other.uri) is None:
            continue
        target = work / other.path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("w+b") as file:
                result = editor.edit(other, file)
        except WithheldError as error:
            raise _not_editable(other, error.detail) from None
        except DataError as error:
            raise _not_editable(other, str(error)) from None
        if result.outcome is Edit.EDITED:
            edited.changes[other.uri] = (store.digest_file(target), target.stat().st_size)
        elif result.outcome is Edit.DROPPED:
            edited.dropped.append(other.uri)
        elif result.outcome is Edit.REFUSED:
            raise _not_editable(other, result.note or "it names a withdrawn image")
        if result.note and len(edited.notes) < _MENTIONS:
            edited.notes.append(f"{other.uri}: {result.note}")
    return edited


def _not_editable(other: SidecarFile, why: str) -> DataError:
    return DataError(
        f"--withdraw cannot edit {other.uri!r}: {why}; remove the images from SOURCE and its "
        "annotations, and run curate blur again"
    )


def _replace_files(dataset: Dataset, edited: _Edited, work: Path) -> None:
    """Put edited files into OUT, after those of withdrawn images are gone.

    Which files belong to an image may be stated in a file that is edited.
    """
    for path in edited.dropped:
        (dataset.data / path).unlink(missing_ok=True)
    for path in edited.changes:
        if (work / path).is_file():
            sync_file(work / path)
            (work / path).replace(dataset.data / path)
            sync_folder((dataset.data / path).parent)
    for other in iter_others(dataset.out / MANIFEST):
        if other.reason == REMOVED:
            _remove_empty(dataset.data / other.path, dataset.data)


def _remove_empty(path: Path, top: Path) -> None:
    """Remove the folders of a removed file that hold nothing else, which may name a person."""
    for folder in path.parents:
        if folder == top or not folder.is_relative_to(top):
            return
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return


def _rewrite_parts(manifest: Path, wanted: Collection[str]) -> None:
    for part in list(store.iter_parts(manifest / store.RECORDS_FOLDER)):
        entries = list(store.iter_part(part))
        if not any(entry.id in wanted and entry.reason != REASON for entry in entries):
            continue
        partial = part.with_name(f".{part.name}.partial")
        store.save_part((_withhold(e) if e.id in wanted else e for e in entries), partial)
        partial.replace(part)


def _withhold(entry: ManifestEntry) -> ManifestEntry:
    return replace(
        entry,
        outcome=Outcome.WITHHELD,
        reason=REASON,
        route=None,
        faces=(),
        hidden=(),
        transforms=(),
        blurred_share=None,
        output_path=None,
        output_sha256=None,
        output_bytes=None,
        pixels_sha256=None,
    )


def _rebuild(dataset: Dataset, wanted: Collection[str]) -> dict[str, tuple[str, int]]:
    """Write the containers of withdrawn images anew; returns their digests and sizes."""
    source = dataset.open()
    if not isinstance(source, ContainerSource):
        return {}
    kept = {item.id for item in dataset.items() if item.is_written}
    present = {record.id for record in source.records()}
    changes: dict[str, tuple[str, int]] = {}
    for container in source.containers():
        if not any(name.startswith(f"{container}/") for name in wanted):
            continue
        path = dataset.data / container
        is_there = any(name.startswith(f"{container}/") and name not in kept for name in present)
        if is_there or isinstance(source, TableLayout):
            with open_atomic(path) as file:
                limits = Limits((), dataset.facts["recipe"].get("include", ()))
                output = _output_of(source, kept)
                if isinstance(source, TableLayout):
                    rebuild_without(source, container, output, wanted, file, limits)
                else:
                    for _ in source.rebuild(container, output, file, limits):
                        pass
        changes[container] = (store.digest_file(path), path.stat().st_size)
    return changes


def _output_of(source: Source, kept: Collection[str]) -> Callable[[str], bytes | None]:
    def output(record_id: str) -> bytes | None:
        record = source.find(record_id) if record_id in kept else None
        return None if record is None else source.read(record)

    return output


def _note_files(path: Path, edited: _Edited) -> None:
    dropped = set(edited.dropped)
    with open_regular(path) as lines, open_atomic(path) as file:
        for value in map(json.loads, iter_short_lines(lines)):
            if value["path"] in edited.changes:
                value["sha256"], value["bytes"] = edited.changes[value["path"]]
            elif value["path"] in dropped:
                value = {"path": value["path"], "carried": False, "reason": REMOVED}
            line = json.dumps(value, sort_keys=True, ensure_ascii=False)
            file.write(f"{line}\n".encode())


def _rewrite_run(manifest: Path) -> None:
    """Counts and digests of ``run.json`` as the parts are now."""
    run: dict[str, Any] = store.load_run(manifest)
    records, tally = manifest / store.RECORDS_FOLDER, store.Tally()
    for entry in store.iter_entries(records):
        tally.add(entry)
    run["counts"] = tally.to_dict()
    run["records"]["sha256"] = store.digest_parts(records)
    run["others"] |= _count_others(manifest)
    run["others"]["sha256"] = store.digest_file(manifest / store.OTHERS)
    if "content" in run:
        limits = Limits((), run["recipe"].get("include", ()))
        for _ in inspect_output(manifest.parent, manifest, run["source"]["layout"], limits):
            pass  # what is wrong with the annotations is reported by `curate verify`
        run["content"]["found"] = limits.content.to_dict()["found"]
    store.save_json(run, manifest / store.RUN)
    save_checksums(manifest.parent)


def _count_others(manifest: Path) -> dict[str, int]:
    """Counts of ``others.jsonl`` that change if a file is dropped."""
    counts = dict.fromkeys(("carried", "left_out", "included"), 0)
    for other in iter_others(manifest):
        counts["carried"] += other.carried
        counts["left_out"] += not other.is_there
        counts["included"] += other.included
    return counts
