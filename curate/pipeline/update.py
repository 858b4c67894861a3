"""Update of a finished output (``--update``): its checks, and what it changed."""

from __future__ import annotations

from pathlib import Path

from curate.core.entries import ManifestEntry
from curate.core.errors import DataError, UsageError
from curate.core.protocols import Source
from curate.layouts.access.address import is_address
from curate.manifest import store
from curate.manifest.files import REVIEW
from curate.pipeline import assembly
from curate.pipeline.recipe_changes import OF_FACES, describe_changes, describe_recipe_clash
from curate.pipeline.run import Run
from curate.pipeline.session import Session
from curate.pipeline.workspace import libraries, save_plan
from curate.recipe import Recipe

_OWN = (store.DATA, store.MANIFEST)
_ANSWERS = "card.toml"
"""What the user wrote for the dataset card; it stays valid."""


def check_options(out: str | Path, session: Session) -> None:
    """Check the options of an update; raises `UsageError`."""
    if is_address(str(out)) or session.shards is not None or session.finish:
        raise UsageError("--update is one process with an OUT on a file system; drop --update")
    if session.faces is None:
        raise UsageError("--update needs the corrected boxes: give --faces FILE")
    if session.faces.resolve().is_relative_to(Path(out).resolve()):
        raise UsageError("--update replaces OUT; give --faces a file outside of it")


def prepare_update(run: Run[Recipe]) -> bool:
    """Check that an output can be updated, and remove work that cannot be continued.

    Returns:
        Whether an interrupted update was complete but for the last step, which was done.

    Raises:
        UsageError: if OUT is not finished, or has another recipe or layout.
        DataError: if it was made with other libraries, or its manifest has changed.
    """
    workspace = run.workspace
    workspace.updates = True
    is_finished = (workspace.out / store.MANIFEST / store.RUN).is_file()
    if (workspace.old / store.MANIFEST).is_dir():  # killed while the old output was replaced
        if not is_finished:
            assembly.move_results(workspace, run.session.sign)
        workspace.clear()
        facts = store.load_run(workspace.out / store.MANIFEST)
        if facts["recipe_sha256"] == run.recipe.digest:
            return True
    elif not is_finished:
        raise UsageError(
            f"{workspace.out} is not a finished output; run the command without --update first"
        )
    _check_earlier(workspace.out, run.source, run.recipe)
    unchecked = workspace.plan.with_name(f"{workspace.plan.name}.{run.leases.token}.partial")
    plan = save_plan(run.source, unchecked)
    unchecked.unlink()
    if not workspace.matches(run.recipe, plan):
        workspace.clear()
    return False


def _check_earlier(out: Path, source: Source, recipe: Recipe) -> None:
    manifest, wanted = out / store.MANIFEST, recipe.to_dict()
    run = store.load_run(manifest)
    recorded = {**run["recipe"], **{key: wanted[key] for key in OF_FACES}}
    if recorded != wanted:
        raise UsageError(describe_recipe_clash(out, recorded, recipe))
    if run["source"]["layout"] != source.layout:
        raise UsageError(
            f"{out} was made from a dataset in the layout {run['source']['layout']}, but SOURCE "
            f"is {source.layout}; choose another OUT"
        )
    if run["libraries"] != libraries():
        changed = describe_changes(run["libraries"], libraries())
        raise DataError(
            f"{out} was made with other libraries ({changed}), so unchanged images may differ from "
            "new ones; install those again, or choose another OUT"
        )
    if store.digest_parts(manifest / store.RECORDS_FOLDER) != run["records"]["sha256"]:
        raise DataError(
            f"the records of {out} have changed since it was made; run `curate verify`, or choose "
            "another OUT"
        )


def report_changes(run: Run[Recipe]) -> tuple[str, ...]:
    """Report how the assembled output differs from the one that it replaces.

    Returns:
        Files in OUT that are of the output before, such as a dataset card.
    """
    workspace = run.workspace
    before = workspace.out / store.MANIFEST
    if not (before / store.RUN).is_file():
        return ()
    total = changed = recorded_anew = gone = 0
    old = store.iter_entries(before / store.RECORDS_FOLDER)
    new = store.iter_entries(workspace.final / store.MANIFEST / store.RECORDS_FOLDER)
    for earlier, now in store.join_by_id(old, new):
        total += now is not None
        gone += now is None
        if now is not None and now != earlier:
            is_same = earlier is not None and _result(now) == _result(earlier)
            recorded_anew += is_same
            changed += not is_same
    run.session.notify(
        f"Images that differ from the output before: {changed:,} of {total:,}"
        + (f"; the same but for their records: {recorded_anew:,}" if recorded_anew else "")
        + (f"; no longer in SOURCE: {gone:,}." if gone else ".")
    )
    return _find_outdated(run)


def _find_outdated(run: Run[Recipe]) -> tuple[str, ...]:
    """Files that are of the output before the update, until they are made again."""
    workspace, manifest = run.workspace, run.workspace.out / store.MANIFEST
    kept = {*_OWN, _ANSWERS, workspace.root.name}
    siblings = sorted({path.name for path in workspace.out.iterdir()} - kept)
    unsigned = () if run.session.sign is not None else (store.SIGNATURE,)
    inside = (name for name in (REVIEW, *unsigned) if (manifest / name).is_file())
    return (*siblings, *(f"{store.MANIFEST}/{name}" for name in inside))


def _result(entry: ManifestEntry) -> tuple[object, ...]:
    """What becomes of an image: its output file, or why it has none."""
    return entry.output_path, entry.output_sha256, entry.reason
