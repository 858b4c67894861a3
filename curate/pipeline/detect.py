"""Find the faces of a dataset and write a table of their boxes, which people can correct."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.core.arguments import checked
from curate.core.errors import ManifestError, SourceChangedError, UsageError, describe_choice
from curate.core.protocols import Source
from curate.core.records import as_names, join_lines
from curate.engine.shards import shard_name
from curate.layouts import open_source
from curate.layouts.access.address import is_address
from curate.layouts.faces import SUFFIXES, save_faces
from curate.layouts.faces.boxes import FoundFaces
from curate.manifest.faces import (
    iter_faces,
    join_faces,
    load_faces_info,
)
from curate.pipeline.assembly import load_models
from curate.pipeline.detect_job import DetectJob, count_faces
from curate.pipeline.given_faces import DIGESTS, save_digests
from curate.pipeline.output import ShardsSummary, summarize_shards
from curate.pipeline.progress import show_progress
from curate.pipeline.recipe_changes import describe_recipe_clash
from curate.pipeline.run import Run, begin, hold
from curate.pipeline.session import Session, configure
from curate.pipeline.shard import (
    PART,
)
from curate.pipeline.shard_queue import run_shards
from curate.pipeline.tools import prepare_recipe
from curate.pipeline.workspace import Workspace, check_local, libraries
from curate.recipe import Recipe
from curate.report.document import Printable, describe_tool
from curate.storage.atomic import sync_file, sync_folder
from curate.storage.target import check_output

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, repr=False)
class DetectionSummary(Printable):
    """The result of `detect`: how many faces were found, and where the table is.

    Args:
        out: the table of faces.
        images: images in SOURCE.
        withheld: images in which no detector ran to completion.
        images_with_faces: images with at least one face.
        faces: faces in all images.
        exports: files in other formats, by format.
        already_done: the table existed; nothing was done.
        recipe_sha256: digest of the recipe.
    """

    out: str
    images: int
    withheld: int
    images_with_faces: int
    faces: int
    exports: dict[str, str]
    already_done: bool
    recipe_sha256: str

    def to_text(self) -> str:
        """The summary for the terminal, at most 80 columns but for long paths."""
        lines = [f"{self.out} exists already; nothing was done."] if self.already_done else []
        lines += [
            f"{self.images:,} images: {self.faces:,} faces in {self.images_with_faces:,} of them, "
            f"{self.withheld:,} withheld.",
            *(
                f"Exported as {form}: {path}; keep {Path(path).name}{DIGESTS} beside it, which has "
                "the digests and the withheld images"
                for form, path in self.exports.items()
            ),
            f"Next: review the boxes, then curate blur SOURCE OUT --faces {shlex.quote(self.out)}",
        ]
        return join_lines(lines)

    def to_frame(self) -> pd.DataFrame:
        """The table of faces, a row per image; needs memory for all of them."""
        import pandas as pd

        return pd.read_parquet(self.out)

    def __repr__(self) -> str:
        return (
            f"<DetectionSummary of {self.out!r}: {self.faces:,} faces in {self.images:,} images, "
            f"{self.withheld:,} withheld>"
        )


@checked
def detect(
    source: str | Path,
    out: str | Path,
    recipe: Recipe | None = None,
    session: Session | None = None,
    exports: str | Sequence[str] = (),
    *,
    quiet: bool = False,
    **options: Any,
) -> DetectionSummary:
    """Find every face of a dataset and write a Parquet table of their boxes.

    Running it again with the same table continues an interrupted run, and returns at once
    from a finished one. `blur` accepts the table, corrected or not, as ``faces``.

    >>> curate.detect("photos", "faces.parquet", profile="thorough")   # doctest: +SKIP
    <DetectionSummary of 'faces.parquet': 231 faces in 128 images, 0 withheld>

    Args:
        source: path or URI of the dataset; only read.
        out: the table to write, such as ``faces.parquet``.
        recipe: what to do, or None for the defaults; only detection matters.
        session: how to run, or None for the defaults.
        exports: further formats, written beside the table: ``coco``, ``imagenet``,
            ``voc``, ``yolo``.
        quiet: show no progress and no messages.
        options: fields of `Recipe`, such as ``detector`` or ``profile``, and of `Session`,
            such as ``workers`` or ``layout``; they override both.

    Raises:
        UsageError: if the options contradict each other, or the table has another recipe.
        DataError: if SOURCE or an interrupted run cannot be used, or the table is of
            another SOURCE.
        SetupError: if something is missing from the environment, disk space included.
    """
    recipe, session = _configure(recipe, session, options)
    if session.shards is not None:
        raise UsageError("use curate.detect_shards to process some of the shards")
    exports = as_names(exports)
    opened, work = _open(source, out, session, exports)
    with (
        show_progress(session, quiet) as session,
        hold(lambda: opened, work, recipe, session) as run,
    ):
        existed = work.out.exists()
        if existed:
            _check_table(run)
        else:
            _find_faces(run)
        return _finish(run, exports, existed)


@checked
def detect_shards(
    source: str | Path,
    out: str | Path,
    shards: str | tuple[int, int],
    recipe: Recipe | None = None,
    session: Session | None = None,
    *,
    quiet: bool = False,
    **options: Any,
) -> ShardsSummary:
    """Find the faces of every n-th shard of a dataset, as one of n processes; see `blur_shards`.

    Afterwards ``curate.detect(source, out, finish=True)`` writes the table.

    >>> curate.detect_shards("photos", "faces.parquet", "3/16")        # doctest: +SKIP
    <ShardsSummary of 'faces.parquet', 3/16: 128 images in 4 shards, 0 withheld>

    Args:
        source: path or URI of the dataset; only read.
        out: the table to write, in a folder that every process can write.
        shards: ``i/n``, or both numbers: every n-th shard from the i-th, with i from 1 to n.
        recipe: what to do, or None for the defaults.
        session: how to run, or None for the defaults.
        quiet: show no progress and no messages.
        options: fields of `Recipe` and of `Session`; they override both.

    Raises:
        UsageError: if the options contradict each other, or another run has begun the table.
        DataError: if SOURCE or the run cannot be used.
        SetupError: if something is missing from the environment, or differs from the other
            processes' environment.
    """
    recipe, session = _configure(recipe, session, {**options, "shards": shards})
    opened, work = _open(source, out, session)
    if work.out.exists():
        counts = (load_faces_info(work.out) or {}).get("counts", {})
        return summarize_shards(work.out, session, None, counts)
    with (
        show_progress(session, quiet) as session,
        hold(lambda: opened, work, recipe, session) as run,
    ):
        return summarize_shards(work.out, session, run_shards(run, begin(run), _make_job(run)))


def _configure(
    recipe: Recipe | None, session: Session | None, options: dict[str, Any]
) -> tuple[Recipe, Session]:
    """The recipe, with the digests of the user's files, and the session, both checked."""
    recipe, session = configure(recipe, session, options)
    if session.faces is not None:
        raise UsageError("detect finds faces and takes none; drop the file of faces")
    return prepare_recipe(recipe, session), session


def _open(
    source: str | Path, out: str | Path, session: Session, exports: Sequence[str] = ()
) -> tuple[Source, Workspace]:
    opened = open_source(str(source), session.layout)
    check_local(out, "the table")
    target = Path(out).resolve()
    _check_target(target, opened.uri, exports)
    return opened, Workspace(target, target.with_name(f".{target.name}.curate"))


def _find_faces(run: Run[Recipe]) -> None:
    work, out = run.workspace, run.workspace.out
    plan = begin(run)
    run_shards(run, plan, _make_job(run))
    shards = -(-plan.images // run.recipe.shard_size_for(plan.images))
    parts = [work.shards / shard_name(number) / PART for number in range(shards)]
    partial = work.staging / "faces.parquet"
    join_faces(parts, _describe_run(run, parts), partial)
    sync_file(partial)
    partial.replace(out)
    sync_folder(out.parent)


def _make_job(run: Run[Recipe]) -> DetectJob:
    return DetectJob(
        uri=run.source.uri,
        layout=run.source.layout,
        work=run.workspace.root,
        recipe=run.recipe,
        weights=run.session.weights,
        follow_links=run.source.follow_links,
    )


def _check_table(run: Run[Recipe]) -> None:
    """Refuse an existing table of another recipe or of another SOURCE."""
    out = run.workspace.out
    try:
        info = load_faces_info(out) or {}
    except ManifestError:
        info = {}
    if info.get("recipe_sha256") != run.recipe.digest:
        if "recipe" not in info:
            raise UsageError(f"{out} exists and is not a table of curate detect; choose another")
        raise UsageError(describe_recipe_clash(out, info["recipe"], run.recipe, "table"))
    for entry, record in zip_longest(iter_faces(out), run.source.records()):
        size = run.source.size(record) if record is not None else None
        known = entry.source_bytes if entry is not None else None
        if (
            entry is None
            or record is None
            or entry.id != record.id
            or (None not in (size, known) and size != known)
        ):
            raise SourceChangedError(
                f"{out} exists, but has other images than SOURCE "
                f"(first at {(record or entry).id!r}); choose another table"
            )


def _finish(run: Run[Recipe], exports: Sequence[str], existed: bool) -> DetectionSummary:
    work, out = run.workspace, run.workspace.out
    written = {form: _export(run, form) for form in exports}
    shutil.rmtree(work.root, ignore_errors=True)
    return DetectionSummary(
        out=str(out),
        **(load_faces_info(out) or {})["counts"],
        exports=written,
        already_done=existed,
        recipe_sha256=run.recipe.digest,
    )


def _export(run: Run[Recipe], form: str) -> str:
    """Write the faces in another format beside the table, atomically."""
    out = run.workspace.out
    target = out.with_name(out.stem + SUFFIXES[form])
    if target.exists():
        return str(target)
    partial = run.workspace.root / f"export{SUFFIXES[form]}"
    if partial.is_dir():
        shutil.rmtree(partial)
    partial.unlink(missing_ok=True)
    save_faces(_iter_detected(out), partial, form)
    images = ((e.id, e.source_sha256, e.reason) for e in iter_faces(out))
    listed = (image for image in images if image[1] or image[2])
    save_digests(listed, load_faces_info(out) or {}, target.with_name(target.name + DIGESTS))
    partial.replace(target)
    return str(target)


def _iter_detected(table: Path) -> Iterator[FoundFaces]:
    for entry in iter_faces(table):
        if entry.reason is None:
            boxes = tuple(face.box for face in entry.faces)
            width, height = entry.width or 0, entry.height or 0
            yield FoundFaces(entry.id, width, height, entry.orientation or 1, boxes)


def _check_target(target: Path, source: str, exports: Sequence[str]) -> None:
    check_output(target, "parquet", f" (--export writes {', '.join(SUFFIXES)} beside it)")
    if not is_address(source) and target.is_relative_to(source):
        raise UsageError(f"{target} is inside SOURCE; choose another path")
    for form in exports:
        if form not in SUFFIXES:
            raise UsageError(describe_choice("format", form, SUFFIXES))
        export = target.with_name(target.stem + SUFFIXES[form])
        if export.exists() and not target.exists():
            raise UsageError(f"{export} exists, and is not of {target}; remove it or rename it")


def _describe_run(run: Run[Recipe], parts: Sequence[Path]) -> dict[str, Any]:
    """What the table records of the run; nothing about the host or the time."""
    counts = dict.fromkeys(("images", "withheld", "images_with_faces", "faces"), 0)
    for part in parts:
        for name, count in count_faces(list(iter_faces(part))).items():
            counts[name] += count
    return {
        "tool": describe_tool(),
        "recipe": run.recipe.to_dict(),
        "recipe_sha256": run.recipe.digest,
        "detectors": [asdict(model) for model in load_models(run.workspace)],
        "libraries": libraries(),
        "source": {"layout": run.source.layout},
        "counts": counts,
    }
