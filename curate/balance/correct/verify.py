"""Verify the OUT of a correction, and a SOURCE before it is corrected, against manifests.

A file that was added to the OUT of `curate blur` afterwards has not been obfuscated; it must not
enter the output of a correction.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from curate import codec
from curate.balance.correct.decisions import DecisionIndex
from curate.balance.correct.source import Origin
from curate.core.errors import DataError, ManifestError
from curate.core.protocols import Source, iter_containers, iter_sidecars
from curate.core.records import escape_unprintable
from curate.engine.local import Finished, Report
from curate.engine.shards import Shard
from curate.layouts import open_source
from curate.layouts.access.tree import iter_files
from curate.manifest import corrections, files, others, store
from curate.manifest.corrections import Row
from curate.manifest.files import Problem
from curate.pipeline.assembly import outcome_of
from curate.pipeline.environment import run_job
from curate.pipeline.output_images import open_outputs
from curate.pipeline.session import Session, count_cores
from curate.recipe import format_json
from curate.storage.index import NameIndex

OTHERS_FATES = ("carried", "edited", "rebuilt", "left_out")
_FILES = frozenset(
    {
        corrections.FACTS, corrections.WEIGHTS, corrections.BEFORE, corrections.AFTER,
        store.OTHERS, store.LOG, *files.CHECKSUM_FILES,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CheckJob:
    """Checks parts of a correction's manifest, one per shard number.

    Args:
        out: the output folder.
        layout: its layout.
        in_containers: whether images are members of larger files.
        read_images: whether OUT has images.
    """

    out: Path
    layout: str
    in_containers: bool
    read_images: bool

    def open(self) -> Callable[[Shard, Report], list[Problem]]:
        """Returns the function that checks one part."""
        read = None
        if self.read_images:
            read = open_outputs(self.out, self.layout, self.in_containers)

        def check(shard: Shard, report: Report) -> list[Problem]:
            report(0, None)
            name = f"{store.RECORDS_FOLDER}/{store.part_name(shard.number)}"
            rows = corrections.iter_part(self.out / files.MANIFEST / name)
            return [problem for row in rows for problem in _check_row(row, read)]

        return check


def is_correction(out: Path) -> bool:
    """Whether a folder is the OUT of a correction."""
    return (out / files.MANIFEST / corrections.FACTS).is_file()


def iter_problems(out: Path, session: Session, facts: Mapping[str, Any]) -> Iterator[Problem]:
    """Check the OUT of a correction; yields problems as they are found.

    Args:
        out: the output folder.
        session: how to run.
        facts: its ``balance.json``.

    Raises:
        ManifestError: if the manifest cannot be read at all.
    """
    manifest = out / files.MANIFEST
    has_images = bool(facts["recipe"].get("writes_images"))
    in_containers = facts["others"]["rebuilt"] > 0
    yield from _check_layout(out, facts["records"]["parts"], has_images)
    # In worker processes first: a forged part can crash its reader.
    job = CheckJob(out, facts["source"]["layout"], in_containers, has_images)
    shards = (Shard(number, ()) for number in range(facts["records"]["parts"]))
    workers = min(session.workers or count_cores(), max(1, facts["records"]["parts"]))
    for event in run_job(job, shards, session, manifest / corrections.FACTS, workers):
        if isinstance(event, Finished):
            yield from event.result
    yield from _check_facts(manifest, facts)
    if has_images and (out / files.DATA).is_dir():
        yield from _check_data(out, facts, in_containers)


def _check_layout(out: Path, parts: int, has_images: bool) -> Iterator[Problem]:
    wanted = {files.MANIFEST, *((files.DATA,) if has_images else ())}
    for name in sorted(wanted):
        if not (out / name).is_dir():
            yield Problem("missing", name, "is not a folder")
    with os.scandir(out) as found:
        for entry in sorted(found, key=lambda entry: entry.name):
            is_known = entry.name in files.ROOT_FILES and entry.is_file(follow_symlinks=False)
            if entry.name not in {*wanted, ".git"} and not is_known:
                yield Problem("extra", entry.name, "does not belong to this output")
    with os.scandir(out / files.MANIFEST) as found:
        for entry in found:
            is_records = entry.name == store.RECORDS_FOLDER and entry.is_dir(follow_symlinks=False)
            is_known = entry.name in _FILES and entry.is_file(follow_symlinks=False)
            if not is_records and not is_known:
                path = str(PurePosixPath(files.MANIFEST, entry.name))
                yield Problem("extra", path, "does not belong to a manifest")
    yield from files.check_records(out, parts)


def _check_facts(manifest: Path, facts: Mapping[str, Any]) -> Iterator[Problem]:
    """Check ``balance.json`` against the files it describes."""
    records = manifest / store.RECORDS_FOLDER
    counts: Counter[str] = Counter()
    names = NameIndex()
    for row in corrections.iter_rows(records):
        counts[row.outcome] += 1
        if not names.add("id", row.id):
            yield Problem("manifest", "manifest/records", f"{row.id!r} is duplicated")
    names.close()
    fates = Counter(line["fate"] for line in iter_others(manifest))
    recorded = facts["counts"]
    yield from _check_weights(manifest, facts)
    claims = {
        "recipe_sha256": (facts["recipe_sha256"], _digest(facts["recipe"])),
        "report.counts": (facts["report"].get("counts"), recorded),
        "report.recipe": (facts["report"].get("recipe"), facts["recipe"]),
        "counts.kept": (recorded["kept"] + recorded["fixed"], counts["kept"]),
        "counts.removed": (recorded["removed"], counts["removed"]),
        "counts.made": (recorded["made"], counts["made"]),
        "records.sha256": (facts["records"]["sha256"], store.digest_parts(records)),
        "source.sha256": (facts["source"]["sha256"], digest_rows(records)),
        "others.sha256": (
            facts["others"]["sha256"], store.digest_regular(manifest / store.OTHERS)
        ),
        **{f"others.{fate}": (facts["others"][fate], fates[fate]) for fate in OTHERS_FATES},
        **{
            name: (facts["files"].get(name), _digest_if_there(manifest / name))
            for name in (corrections.WEIGHTS, corrections.BEFORE, corrections.AFTER)
        },
    }  # fmt: skip
    for name, (claimed, found) in claims.items():
        if claimed != found:
            text = f"{name} is {claimed}, but should be {found}"
            yield Problem("manifest", f"manifest/{corrections.FACTS}", text)


def _check_weights(manifest: Path, facts: Mapping[str, Any]) -> Iterator[Problem]:
    """Check that the table of weights equals the weights of the records."""
    path = manifest / corrections.WEIGHTS
    if (facts["recipe"].get("strategy") == "reweigh") != path.exists():
        yield Problem("manifest", f"manifest/{path.name}", "is missing, or present without weights")
    if not path.exists():
        return
    rows = corrections.iter_rows(manifest / store.RECORDS_FOLDER)
    wanted = ((row.id, row.weight) for row in rows if row.weight is not None)
    for expected, found in itertools.zip_longest(wanted, corrections.iter_weights(path)):
        if expected != found:
            name = (expected or found)[0]
            text = f"the weight of {name!r} differs from its record"
            yield Problem("manifest", f"manifest/{path.name}", text)
            return


def _digest(recipe: Any) -> str:
    return store.digest_bytes(format_json(recipe).encode())


def _digest_if_there(path: Path) -> str | None:
    return store.digest_regular(path) if path.exists() else None


def digest_rows(records: Path) -> str:
    """SHA-256 over the ids and source digests of all original records, in order."""
    total = hashlib.sha256()
    for row in corrections.iter_rows(records):
        if row.outcome != "made":
            total.update(f"{row.source_sha256 or '-'}  {row.id}\n".encode())
    return total.hexdigest()


def iter_others(manifest: Path) -> Iterator[dict[str, Any]]:
    """The entries of a correction's ``others.jsonl``.

    Raises:
        ManifestError: if it cannot be read.
    """
    path = manifest / store.OTHERS
    try:
        with path.open(encoding="utf-8") as file:
            for line in map(json.loads, file):
                if not isinstance(line["path"], str) or not isinstance(line["carried"], bool):
                    raise ValueError("a line has no path, or does not say whether it is carried")
                yield {**line, "fate": outcome_of(line)}
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{path} cannot be read: {error}") from None


def _check_row(row: Row, read: Callable[[str], bytes] | None) -> Iterator[Problem]:
    """Check one row and its image, if any."""
    if (row.outcome == "removed") != (row.weight is None):
        yield Problem("manifest", row.id, "is removed but has a weight, or kept without one")
    if (row.outcome == "made") != (row.made_from is not None):
        yield Problem("manifest", row.id, "is added without an original, or kept with one")
    has_output = row.output_path is not None
    if has_output != (read is not None and row.outcome != "removed"):
        yield Problem("manifest", row.id, "has an unexpected output path, or none")
        return
    if read is None or row.output_path is None:
        return
    path = f"{files.DATA}/{row.output_path}"
    if not files.stays_inside(row.output_path):
        yield Problem("manifest", row.id, f"its output path is {row.output_path!r}")
        return
    try:
        data = read(row.output_path)
    except OSError as error:
        yield Problem("missing", path, error.strerror or "cannot be read")
        return
    if len(data) != row.output_bytes or store.digest_bytes(data) != row.output_sha256:
        yield Problem("changed", path, "its bytes differ from the manifest")
    if row.seed is not None:
        for leak in codec.find_leaks(data):
            yield Problem("leak", path, leak)


def _check_data(out: Path, facts: Mapping[str, Any], in_containers: bool) -> Iterator[Problem]:
    """Find unexpected, changed or missing files below ``data/``."""
    data, manifest = out / files.DATA, out / files.MANIFEST
    links = list(files.check_kinds(data))
    yield from links
    if links:
        return
    siblings = []
    for line in iter_others(manifest):
        if line["fate"] == "left_out":
            continue
        path = str(line["path"])
        siblings.append(path)
        if not files.stays_inside(path) or not (data / path).is_file():
            yield Problem("missing", f"{files.DATA}/{path}", "does not exist")
        elif store.digest_regular(data / path) != line.get("sha256"):
            yield Problem("changed", f"{files.DATA}/{path}", "differs from the manifest")
    outputs = NameIndex()
    for row in corrections.iter_rows(manifest / store.RECORDS_FOLDER):
        if row.output_path is not None:
            outputs.add("output", row.output_path)
    present = (path for path, _ in iter_files(data, "OUT"))
    siblings.sort(key=os.fsencode)
    if not in_containers:
        images = outputs.names("output")
        yield from files.check_extra(heapq.merge(siblings, images, key=os.fsencode), present)
        return
    yield from files.check_extra(iter(siblings), present)
    opened = open_source(str(data), facts["source"]["layout"], "OUT")
    ids = (record.id for record in opened.records())
    yield from files.check_extra(outputs.names("output"), ids)


def check_provenance(source: Source, origin: Origin, decisions: DecisionIndex) -> None:
    """Check that SOURCE's manifest lists everything that would enter OUT; store the digests.

    Image bytes are compared later, when they are read. Without a manifest nothing is checked.

    Args:
        source: the dataset.
        origin: the kind of SOURCE.
        decisions: contains every record; receives the digests.

    Raises:
        ManifestError: if the manifest was changed.
        DataError: if a file is not listed or was changed.
    """
    manifest = origin.run or origin.earlier
    if manifest is None:
        return
    _check_manifest(origin, manifest)
    decisions.expect(_iter_images(origin))
    unexpected = decisions.find_unexpected()
    if unexpected is not None:
        raise DataError(f"{escape_unprintable(unexpected)} {_STRANGE}")
    decisions.expect_files(_iter_files(origin))
    for path, found in _iter_found(source):
        expected = decisions.expected_file(path)
        if expected is None:
            raise DataError(f"{escape_unprintable(path)} {_STRANGE}")
        if found != expected:
            raise DataError(
                f"{escape_unprintable(path)} differs from the manifest of SOURCE; see "
                "`curate verify`"
            )


_STRANGE = (
    "is not in the manifest of SOURCE, so it was not checked for faces; remove it, or run "
    "`curate blur` again on the dataset that it belongs to"
)


def _check_manifest(origin: Origin, manifest: Path) -> None:
    facts = store.load_run(manifest) if origin.run else corrections.load_facts(manifest)
    found = {
        "records": store.digest_parts(manifest / store.RECORDS_FOLDER),
        "others": store.digest_regular(manifest / store.OTHERS),
    }
    for name, digest in found.items():
        if facts[name]["sha256"] != digest:
            raise ManifestError(
                f"the manifest of SOURCE was changed: the digest of its {name} differs; "
                "see `curate verify`"
            )


def _iter_images(origin: Origin) -> Iterator[tuple[str, str]]:
    if origin.run is not None:
        for entry in store.iter_entries(origin.run / store.RECORDS_FOLDER):
            if entry.output_path is not None and entry.output_sha256 is not None:
                yield entry.output_path, entry.output_sha256
    elif origin.earlier is not None:
        for row in corrections.iter_rows(origin.earlier / store.RECORDS_FOLDER):
            if row.output_path is not None and row.output_sha256 is not None:
                yield row.output_path, row.output_sha256


def _iter_files(origin: Origin) -> Iterator[tuple[str, str]]:
    """Annotation files and containers listed in the manifest."""
    if origin.run is not None:
        for other in others.iter_others(origin.run):
            if other.sha256 is not None:
                yield other.path, other.sha256
    elif origin.earlier is not None:
        for line in iter_others(origin.earlier):
            if line["fate"] != "left_out":
                yield str(line["path"]), str(line.get("sha256"))


def _iter_found(source: Source) -> Iterator[tuple[str, str]]:
    """Annotation files and containers of SOURCE that would enter OUT."""
    for other in iter_sidecars(source):
        if other.copied:
            yield other.uri, store.digest_file(Path(source.uri) / other.path)
    for container in iter_containers(source):
        yield container, store.digest_file(Path(source.uri) / container)
