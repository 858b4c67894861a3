"""Write OUT: edited annotation files, rebuilt containers, and the manifest."""

from __future__ import annotations

import heapq
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from curate.balance.correct.augmentation import make_augmentation
from curate.balance.correct.decisions import DecisionIndex, open_decisions
from curate.balance.correct.options import BalanceOptions
from curate.balance.correct.report import Findings, to_dict
from curate.balance.correct.source import BalanceInputs, Origin
from curate.balance.correct.verify import OTHERS_FATES, digest_rows
from curate.core.affine import Affine
from curate.core.errors import DataError, ManifestError, describe_malformed
from curate.core.protocols import iter_containers
from curate.core.records import printable
from curate.layouts.access.address import is_address
from curate.layouts.editing import GeneratedImage, open_editor, rebuild_edited
from curate.layouts.sidecars.content import Content
from curate.manifest import corrections, store
from curate.pipeline.assembly import gather
from curate.pipeline.image_names import ImageNames
from curate.pipeline.other_files import list_others, path_of
from curate.pipeline.run import Run
from curate.pipeline.shard import DATA
from curate.pipeline.sidecars import SidecarWriter, make_limits
from curate.pipeline.workspace import Plan, Workspace, check_containers, libraries
from curate.report.document import describe_tool
from curate.storage.atomic import sync_file, sync_folder


@dataclass(frozen=True, slots=True)
class Extent:
    """Size of the upright original of an added image.

    Args:
        width: pixels.
        height: pixels.
        orientation: EXIF orientation that was applied; 1 for an identical copy.
    """

    width: int
    height: int
    orientation: int = 1


def format_map(origin: Extent, affine: Affine) -> str:
    """Format the affine map from the original to the added image as JSON."""
    return json.dumps({"of": asdict(origin), "to": asdict(affine)}, sort_keys=True)


def parse_map(name: str, text: str) -> GeneratedImage:
    """Parse the output of `format_map`.

    Raises:
        ManifestError: if it is malformed.
    """
    try:
        value = json.loads(text)
        first, second = (tuple(map(float, row)) for row in value["to"]["matrix"])
        affine = Affine(
            (first, second),  # type: ignore[arg-type]
            int(value["to"]["width"]),
            int(value["to"]["height"]),
        )
        return GeneratedImage(
            name, affine, **{key: int(number) for key, number in value["of"].items()}
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError(
            f"{name!a} has an invalid affine map: {describe_malformed(error)}"
        ) from None


class DecidedEdits:
    """Decisions as the edits that `curate.layouts.editing` applies.

    Args:
        decisions: the index, including all added images.
    """

    def __init__(self, decisions: DecisionIndex) -> None:
        self._decisions = decisions

    def is_kept(self, record_id: str) -> bool:
        """Whether an image is kept; unknown ids are not images of the dataset."""
        decision = self._decisions.find(printable(record_id))
        return decision is None or decision.is_kept

    def generated_from(self, record_id: str) -> Sequence[GeneratedImage]:
        """The images added from one, in order."""
        return [
            parse_map(name, affine)
            for name, affine in self._decisions.made_from(printable(record_id))
            if affine is not None
        ]


def annotate(
    workspace: Workspace, run: Run[BalanceOptions], decisions: DecisionIndex, copies: Path,
    content: Content,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Write edited annotation files and rebuilt containers.

    Args:
        workspace: the run's work folder, with all images gathered.
        run: the dataset and the options.
        decisions: the decisions, including all added images.
        copies: the folder for annotation files.
        content: receives what the annotations contain.

    Yields:
        One entry per file, sorted by path.

    Raises:
        DataError: if annotations of the layout cannot be parsed.
    """
    source, edits = run.source, DecidedEdits(decisions)
    names = ImageNames(source, decisions.iter_made())
    limits = make_limits(run.recipe, names)
    limits.content = content
    editor = open_editor(source, edits, limits.includes)
    writer = SidecarWriter(source, copies, limits, names, _accept_map, editor)
    new = sorted(writer.write_new(), key=path_of)
    rebuilt = _rebuild(workspace, run, edits, decisions, content)
    yield from heapq.merge(writer.write_all(), new, rebuilt, key=path_of)


def _accept_map(path: str, sha256: str) -> None:
    """Accept any label map: no pixels are obfuscated, so none can show a face that was."""


def _rebuild(
    workspace: Workspace, run: Run[BalanceOptions], edits: DecidedEdits, decisions: DecisionIndex,
    content: Content,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Rebuild all containers; yields one entry per container and per file left out."""
    source = run.source
    names = ImageNames(source)
    for container in iter_containers(source):
        target = workspace.final / DATA / container
        partial = workspace.staging / "container.partial"
        target.parent.mkdir(parents=True, exist_ok=True)
        limits = make_limits(run.recipe, names)

        def image_bytes(record_id: str) -> bytes | None:
            path = workspace.members / record_id
            return path.read_bytes() if path.is_file() else None

        def on_written(record_id: str, output_id: str) -> None:
            decisions.set_output_path(printable(record_id), printable(output_id))

        with partial.open("w+b") as file:
            rebuilt = rebuild_edited(
                source, container, edits, image_bytes, file, on_written, limits
            )
            left = list(rebuilt)
        content.merge(limits.content.to_dict())
        sync_file(partial)
        partial.rename(target)
        sync_folder(target.parent)
        yield {"path": container, "carried": False, "rebuilt": True} | _digest(target)
        for each in left:
            yield {"path": str(each.path), "carried": False, "reason": each.reason}


def _digest(path: Path) -> dict[str, Any]:
    return {"sha256": store.digest_file(path), "bytes": path.stat().st_size}


def place_rows(records: Path, decisions: DecisionIndex) -> None:
    """Set the output paths of all rows after containers were written.

    Args:
        records: the manifest's parts.
        decisions: the output ids.
    """
    for part in list(store.iter_parts(records)):
        rows = [_with_output_path(row, decisions) for row in corrections.iter_part(part)]
        partial = part.with_name(part.name + ".partial")
        corrections.save_rows(rows, partial)
        partial.rename(part)


def _with_output_path(row: corrections.Row, decisions: DecisionIndex) -> corrections.Row:
    if row.output_path is None:
        return row
    return replace(row, output_path=decisions.output_path(row.id))


_LIBRARIES = ("albumentations", "scipy")


def assemble(
    run: Run[BalanceOptions], plan: Plan, findings: Findings, origin: Origin, inputs: BalanceInputs,
    decisions: Path,
) -> None:  # fmt: skip
    """Assemble OUT from the committed shards and write its manifest.

    Args:
        run: the run, with every shard committed.
        plan: the plan of the run.
        findings: the result.
        origin: the kind of SOURCE.
        inputs: the input files.
        decisions: the index file.
    """
    workspace, options = run.workspace, run.recipe
    manifest = workspace.final / "manifest"
    loose = next(iter_containers(run.source), None) is None
    size = options.shard_size_for(plan.images)
    gather(workspace, -(-plan.images // size), loose, run.check_unchanged)
    records = manifest / store.RECORDS_FOLDER
    if run.session.finish:
        _check_rows(run, plan, size, records)
    with open_decisions(decisions, fresh=False) as opened:
        opened.note_made(_iter_made(records))
        content = Content()
        others = _write_others(workspace, run, opened, content)
        if options.writes_images and not loose:
            place_rows(records, opened)
    if not options.writes_images:
        shutil.rmtree(workspace.final / DATA, ignore_errors=True)
    elif not loose:
        check_containers(run.source, plan)
    report = to_dict(findings)
    files = _save_files(manifest, options, report)
    facts = {
        "schema_version": corrections.VERSION,
        "tool": describe_tool(),
        "recipe": options.to_dict(),
        "recipe_sha256": options.digest,
        "libraries": {**libraries(), **{name: version(name) for name in _LIBRARIES}},
        "augmentation": _describe_augmentation(inputs),
        "source": _describe_source(run, origin, records),
        "counts": report["counts"],
        "report": {key: value for key, value in report.items() if key != "audit"},
        "others": {
            **{fate: others[fate] for fate in (*OTHERS_FATES, "included")},
            "sha256": store.digest_file(manifest / store.OTHERS),
        },
        "content": content.to_dict(),
        "files": files,
        "records": {
            "parts": sum(1 for _ in store.iter_parts(records)),
            "sha256": store.digest_parts(records),
        },
    }
    store.save_json(facts, manifest / corrections.FACTS)


def _check_rows(run: Run[BalanceOptions], plan: Plan, size: int, records: Path) -> None:
    """Check that every record has its row, whoever has written it; raises `DataError`."""
    for number, position in plan.positions(size):
        name = store.part_name(number)
        wanted = [printable(each.id) for each in plan.shard(number, position, size).records]
        rows = corrections.iter_part(records / name)
        if sorted(row.id for row in rows if row.made_from is None) != sorted(wanted):
            raise DataError(
                f"{name} does not have the records of its shard; remove {run.workspace.name} and "
                "run again"
            )


def load_report(manifest: Path) -> dict[str, Any]:
    """The report of a finished correction.

    Raises:
        ManifestError: if its manifest cannot be read.
    """
    report: dict[str, Any] = dict(corrections.load_facts(manifest)["report"])
    paths = {"before": manifest / corrections.BEFORE, "after": manifest / corrections.AFTER}
    has_audits = all(path.is_file() for path in paths.values())
    audits = {when: store.load_json(path) for when, path in paths.items()} if has_audits else None
    return {**report, "audit": audits}


def _iter_made(records: Path) -> Iterator[tuple[str, str, int, str | None]]:
    for row in corrections.iter_rows(records):
        if row.made_from is not None and row.number is not None:
            yield row.id, row.made_from, row.number, row.affine


def _write_others(
    workspace: Workspace, run: Run[BalanceOptions], decisions: DecisionIndex, content: Content
) -> Counter[str]:
    """Write all other files; returns their number by fate, and that of files copied unread."""
    if not run.recipe.writes_images:
        return list_others(workspace, lambda _: iter(()))
    included = 0

    def produce(copies: Path) -> Iterator[dict[str, Any]]:
        nonlocal included
        for line in annotate(workspace, run, decisions, copies, content):
            included += line.get("included", False)
            yield line

    counts = list_others(workspace, produce)
    return counts + Counter(included=included)


def _save_files(manifest: Path, options: BalanceOptions, report: dict[str, Any]) -> dict[str, str]:
    """Write weights and audits; returns their SHA-256 by name."""
    names = []
    if options.strategy == "reweigh":
        rows = corrections.iter_rows(manifest / store.RECORDS_FOLDER)
        corrections.save_weights(rows, manifest / corrections.WEIGHTS)
        names.append(corrections.WEIGHTS)
    if report["audit"] is not None:
        store.save_json(report["audit"]["before"], manifest / corrections.BEFORE)
        store.save_json(report["audit"]["after"], manifest / corrections.AFTER)
        names += [corrections.BEFORE, corrections.AFTER]
    return {name: store.digest_file(manifest / name) for name in names}


def _describe_augmentation(inputs: BalanceInputs) -> dict[str, Any] | None:
    if inputs.augmentation is None:
        return None
    return make_augmentation(inputs.augmentation).to_dict()


def _describe_source(run: Run[BalanceOptions], origin: Origin, records: Path) -> dict[str, Any]:
    uri = run.source.uri
    return {
        "layout": run.source.layout,
        "origin": uri if is_address(uri) else None,
        "obfuscated": origin.is_obfuscated,
        "manifest_sha256": origin.sha256,
        "sha256": digest_rows(records),
    }
