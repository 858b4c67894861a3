"""Verify the OUT of a correction against its manifest, and describe its files."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from curate import codec
from curate.core.errors import ManifestError, describe_malformed
from curate.engine.local import Finished, Report
from curate.engine.shards import Shard
from curate.layouts import open_source
from curate.layouts.access.tree import iter_output
from curate.layouts.editing.changes import REMOVED
from curate.layouts.sidecars.content import describe_drop_keys
from curate.layouts.sidecars.values import Limits
from curate.manifest import corrections, files, store
from curate.manifest.checks import describe_differences
from curate.manifest.corrections import Row
from curate.manifest.files import Problem
from curate.pipeline.environment import run_job
from curate.pipeline.image_names import ImageNames
from curate.pipeline.inspection import inspect_containers, inspect_sidecars
from curate.pipeline.other_files import outcome_of
from curate.pipeline.output_images import open_outputs
from curate.pipeline.session import Session, Step, count_cores
from curate.pipeline.sidecar_summary import describe_others, find_left_out
from curate.recipe import Recipe, format_json
from curate.storage.index import NameIndex
from curate.storage.regular import open_regular

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


def iter_problems(
    out: Path,
    session: Session,
    facts: Mapping[str, Any],
    watch: Callable[[Step], None] = lambda _: None,
) -> Iterator[Problem]:
    """Check the OUT of a correction; yields problems as they are found.

    Args:
        out: the output folder.
        session: how to run.
        facts: its ``balance.json``.
        watch: called with the progress.

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
    parts, done = facts["records"]["parts"], 0
    workers = min(session.workers or count_cores(), max(1, parts))
    for event in run_job(job, shards, session, manifest / corrections.FACTS, workers):
        if isinstance(event, Finished):
            done += 1
            watch(Step("", "shards", done, parts))
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
            is_folder = entry.name in wanted and entry.is_dir(follow_symlinks=False)
            if not is_folder and not is_known and not files.is_git(entry):
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
    for name, pair in claims.items():
        for text in describe_differences(name, *pair):
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
        with open_regular(path) as file:
            for number, text in enumerate(file, start=1):
                line = json.loads(text)
                if not (
                    isinstance(line, dict)
                    and isinstance(line.get("path"), str)
                    and isinstance(line.get("carried"), bool)
                ):
                    raise ValueError(f"line {number} has no path, or no value of carried")
                yield {**line, "fate": outcome_of(line)}
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path} cannot be read: {describe_malformed(error)}") from None


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
    yield from _check_content(out, facts)
    outputs = NameIndex()
    for row in corrections.iter_rows(manifest / store.RECORDS_FOLDER):
        if row.output_path is not None:
            outputs.add("output", row.output_path)
    present = iter_output(data)
    siblings.sort(key=os.fsencode)
    if not in_containers:
        images = outputs.names("output")
        yield from files.check_extra(heapq.merge(siblings, images, key=os.fsencode), present)
        return
    yield from files.check_extra(iter(siblings), present)
    opened = open_source(str(data), facts["source"]["layout"], "OUT")
    ids = (record.id for record in opened.records())
    yield from files.check_extra(outputs.names("output"), ids)


def _check_content(out: Path, facts: Mapping[str, Any]) -> Iterator[Problem]:
    """Parse every annotation again, and compare what they contain with ``balance.json``."""
    recipe = facts["recipe"]
    limits = Limits(_texts(recipe, "drop_keys", Recipe().drop_keys), _texts(recipe, "include"))
    for path, detail in inspect_correction(out, facts["source"]["layout"], limits):
        yield Problem("leak", f"{files.DATA}/{path}", detail)
    content = facts.get("content")  # absent in manifests of earlier releases
    if content is not None and limits.content.to_dict()["found"] != content["found"]:
        detail = "content is not what the annotations contain"
        yield Problem("manifest", f"manifest/{corrections.FACTS}", detail)


def _texts(recipe: Mapping[str, Any], name: str, default: Sequence[str] = ()) -> Sequence[str]:
    values = recipe.get(name, default)
    return [str(value) for value in values] if isinstance(values, list | tuple) else default


def inspect_correction(out: Path, layout: str, limits: Limits) -> Iterator[tuple[str, str]]:
    """Check the annotations of a correction; yields path and reason of each problem.

    Args:
        out: the output folder.
        layout: its layout.
        limits: limits on the values, which count what the files contain.
    """
    source = open_source(str(out / files.DATA), layout, "OUT")
    # Annotations that were kept may name images that were removed.
    rows = corrections.iter_rows(out / files.MANIFEST / store.RECORDS_FOLDER)
    limits.match_path = ImageNames(source, (row.id for row in rows)).match_path
    yield from inspect_sidecars(source, _iter_written(out / files.MANIFEST), limits, True)
    yield from inspect_containers(source, limits)


def _iter_written(manifest: Path) -> Iterator[str]:
    """Paths of the annotations that were written, sorted by bytes.

    Raises:
        ManifestError: if they are out of order, so that some would not be checked.
    """
    last = b""
    for line in iter_others(manifest):
        path = str(line["path"])
        if line["fate"] in ("carried", "edited") and not line.get("included"):
            if path.encode() <= last:
                raise ManifestError(f"{manifest / store.OTHERS}: {path!r} is out of order")
            last = path.encode()
            yield path


def describe_files(out: Path) -> list[str]:
    """What became of the files beside the images, and what they contain, a line each.

    Files of removed images are not named.

    Args:
        out: the output folder.
    """
    facts = corrections.load_facts(out / files.MANIFEST)
    counts = {"included": 0, **facts["others"]}
    left_out, hints = find_left_out(_iter_left_out(out / files.MANIFEST))
    counts["left_out"] = sum(1 for _ in _iter_left_out(out / files.MANIFEST))
    content = facts.get("content", {"found": {}, "dropped": {}})
    hints = (*hints, *describe_drop_keys(facts["recipe"].get("drop_keys"), content))
    return list(describe_others(counts, left_out, hints, content, corrections.FACTS))


def _iter_left_out(manifest: Path) -> Iterator[tuple[str, str]]:
    """Path and reason of each file that was left out, but for those of removed images."""
    for line in iter_others(manifest):
        if line["fate"] == "left_out" and line.get("reason") != REMOVED:
            yield str(line["path"]), str(line.get("reason"))
