"""Take images out of an OUT on a person's request, so that its manifest still verifies."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import UsageError
from curate.core.protocols import ContainerSource, Source
from curate.layouts.sidecars.values import Limits
from curate.manifest import store
from curate.manifest.checksums import save_checksums
from curate.manifest.files import MANIFEST
from curate.pipeline.inspection import inspect_output
from curate.publishing.dataset import Dataset
from curate.storage.atomic import open_atomic, save_text

REASON = "withdrawn: on request"
_MENTIONS = 20


def withdraw(dataset: Dataset, ids: Collection[str]) -> list[str]:
    """Remove images, and record that they were withdrawn.

    The manifest's parts are rewritten first, each at once; a run that is interrupted is finished
    by the same command.

    Args:
        dataset: the OUT of ``curate blur``.
        ids: records, by id.

    Returns:
        Annotation files that still mention one of the images.

    Raises:
        UsageError: if an id is not a record, or OUT is of a correction.
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
    manifest = dataset.out / MANIFEST
    _rewrite_parts(manifest, wanted)
    if dataset.in_containers:
        _rebuild(dataset, wanted)
    else:
        for item in dataset.items():
            if item.id in wanted:
                (dataset.data / _path_of(dataset, item.id)).unlink(missing_ok=True)
    _rewrite_run(manifest)
    return _find_mentions(dataset, wanted)


def _path_of(dataset: Dataset, record_id: str) -> str:
    found = dataset.open().find(record_id)
    return record_id if found is None else found.id


def _rewrite_parts(manifest: Path, wanted: Collection[str]) -> None:
    for part in list(store.iter_parts(manifest / store.RECORDS_FOLDER)):
        entries = list(store.iter_part(part))
        if not any(entry.id in wanted and entry.output_path for entry in entries):
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


def _rebuild(dataset: Dataset, wanted: Collection[str]) -> None:
    """Write the containers of withdrawn images anew, and note their digests."""
    source = dataset.open()
    if not isinstance(source, ContainerSource):
        return
    kept = {item.id for item in dataset.items() if item.is_written}
    present = {record.id for record in source.records()}
    changes: dict[str, tuple[str, int]] = {}
    for container in source.containers():
        if not any(name.startswith(f"{container}/") for name in wanted):
            continue
        path = dataset.data / container
        if any(name.startswith(f"{container}/") and name not in kept for name in present):
            with open_atomic(path) as file:
                limits = Limits((), dataset.facts["recipe"].get("include", ()))
                for _ in source.rebuild(container, _output_of(source, kept), file, limits):
                    pass
        changes[container] = (store.digest_file(path), path.stat().st_size)
    _note_containers(dataset.out / MANIFEST / store.OTHERS, changes)


def _output_of(source: Source, kept: Collection[str]) -> Callable[[str], bytes | None]:
    def output(record_id: str) -> bytes | None:
        record = source.find(record_id) if record_id in kept else None
        return None if record is None else source.read(record)

    return output


def _note_containers(path: Path, changes: dict[str, tuple[str, int]]) -> None:
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        value = json.loads(line)
        if value["path"] in changes:
            value["sha256"], value["bytes"] = changes[value["path"]]
        lines.append(json.dumps(value, sort_keys=True, ensure_ascii=False))
    save_text(path, "".join(f"{line}\n" for line in lines))


def _rewrite_run(manifest: Path) -> None:
    """Counts and digests of ``run.json`` as the parts are now."""
    run: dict[str, Any] = store.load_run(manifest)
    records, tally = manifest / store.RECORDS_FOLDER, store.Tally()
    for entry in store.iter_entries(records):
        tally.add(entry)
    run["counts"] = tally.to_dict()
    run["records"]["sha256"] = store.digest_parts(records)
    run["others"]["sha256"] = store.digest_file(manifest / store.OTHERS)
    if "content" in run:
        limits = Limits((), run["recipe"].get("include", ()))
        for _ in inspect_output(manifest.parent, manifest, run["source"]["layout"], limits):
            pass  # what is wrong with the annotations is reported by `curate verify`
        run["content"]["found"] = limits.content.to_dict()["found"]
    store.save_json(run, manifest / store.RUN)
    save_checksums(manifest.parent)


def _find_mentions(dataset: Dataset, wanted: Collection[str]) -> list[str]:
    """Annotation files that contain the file name of a withdrawn image."""
    names = {Path(record_id).name.encode() for record_id in wanted}
    found: list[str] = []
    for carried in dataset.carried():
        if carried.is_container or len(found) == _MENTIONS:
            continue
        with (dataset.data / carried.path).open("rb") as file:
            tail = b""
            while block := file.read(1 << 20):
                if any(name in tail + block for name in names):
                    found.append(carried.path)
                    break
                tail = block[-4096:]
    return found
