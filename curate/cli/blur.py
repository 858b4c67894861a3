"""``curate blur``: obfuscate every face of a dataset."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.options import (
    DETECTORS_LIST,
    HTML,
    LAYOUTS_LIST,
    METHODS,
    OUT,
    SHOW_ORIGINALS,
    SIGN,
    SOURCE,
    read_sharing,
    run_options,
    share_options,
)
from curate.cli.output import check_outputs
from curate.cli.printing import echo_json, print_shards, print_summary
from curate.cli.recipe import build_recipe, detection_options, obfuscation_options
from curate.core.errors import UsageError

if TYPE_CHECKING:
    from curate.pipeline.session import Session
    from curate.recipe import Recipe

_EPILOG = f"""\b
Methods:
{METHODS}

\b
Formats:
{LAYOUTS_LIST}

\b
Detectors:
{DETECTORS_LIST}

\b
Examples:
  curate blur photos/ out/
  curate blur photos/ out/ --profile thorough --workers 8
  curate blur photos/ out/ --method fill --method-option color=#808080
  curate blur photos/ out/ --dry-run
  curate blur photos/ out/ --shards 3/16
  curate blur photos/ out/ --finish
"""


@click.command(epilog=_EPILOG)
@click.argument("source", type=SOURCE)
@click.argument("out", type=OUT)
@obfuscation_options
@detection_options
@click.option(
    "--propagate-boxes",
    is_flag=True,
    help="With --faces: hide a face in every near-duplicate of an image that has it.",
)
@click.option(
    "--update",
    is_flag=True,
    help="With --faces: bring a finished OUT up to date; obfuscate again only the images whose "
    "boxes, review state or bytes differ.",
)
@click.option(
    "--flag-captions",
    is_flag=True,
    help="Count texts of copied annotations and file names that may be names of people.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Write nothing; report what would be done and how long it takes, from a sample.",
)
@SIGN
@HTML
@SHOW_ORIGINALS
@share_options
@run_options
@click.pass_context
def command(ctx: click.Context, /, source: str, out: Path | str, **options: Any) -> None:
    """Find and obfuscate every face in the images of SOURCE, and write OUT.

    OUT gets data/, in SOURCE's layout and names, and manifest/, from which
    `curate verify` checks it. SOURCE is only read. Run the same command again
    to continue after an interruption. Images that cannot be processed to the
    end are withheld and listed in the manifest, never passed through.

    In Python: curate.blur, curate.blur_shards, curate.preview.
    """
    from curate.pipeline.session import Session

    if options["show_originals"] and options["html"] is None:
        raise UsageError("--show-originals needs --html FILE")
    whole = ("html", "dry_run", "flag_captions", "sign")
    if isinstance(out, str) and any(options[name] for name in whole[:3]):
        raise UsageError(
            "OUT is a URI; --html, --dry-run and --flag-captions need an OUT on a file system"
        )
    if options["shards"] and any(options[name] for name in whole):
        raise UsageError(
            "--shards makes a part of OUT; drop --html, --dry-run, --flag-captions and --sign"
        )
    if options["update"] and options["dry_run"]:
        raise UsageError("--dry-run writes nothing; drop --update")
    check_outputs((source, out), {"html": options["html"]}, "blur")
    recipe, weights = build_recipe(options)
    session = Session(
        layout=options["layout"],
        workers=options["workers"],
        faces=options["faces"],
        weights=weights,
        skip_self_test=options["skip_self_test"],
        profile_time=options["profile_time"],
        allow_missing=options["allow_missing"],
        update=options["update"],
        sign=options["sign"],
        **read_sharing(options),
    )
    with _propagated(source, session, options) as session:
        _run(ctx, source, out, recipe, session, options)


@contextmanager
def _propagated(source: str, session: Session, options: dict[str, Any]) -> Iterator[Session]:
    """Add the boxes of near-duplicates to the given faces, if ``--propagate-boxes`` is given."""
    if not options["propagate_boxes"]:
        yield session
        return
    if session.faces is None:
        raise UsageError(
            "--propagate-boxes adds to the boxes of --faces; run curate detect first, and give "
            "its table"
        )
    from curate.duplicates.propagate import propagate_boxes
    from curate.duplicates.run import SearchOptions
    from curate.pipeline.progress import make_notifier

    with tempfile.TemporaryDirectory(prefix="curate-faces-") as folder:
        table = Path(folder) / "faces.parquet"
        done = propagate_boxes(
            source, session.faces, table, SearchOptions(layout=session.layout),
            quiet=options["quiet"],
        )  # fmt: skip
        make_notifier(options["quiet"])(done.to_text())
        yield dataclasses.replace(session, faces=table)


def _run(
    ctx: click.Context, source: str, out: Path | str, recipe: Recipe, session: Session,
    options: dict[str, Any],
) -> None:  # fmt: skip
    from curate.cli.interrupt import stop_on_interrupt
    from curate.pipeline.blur import blur, blur_shards
    from curate.pipeline.person_names import count_names
    from curate.pipeline.preview import preview
    from curate.pipeline.sheet import SheetOptions, save_sheet

    quiet = options["quiet"]
    if options["dry_run"]:
        sample = preview(source, out, recipe, session, quiet=quiet)
        if options["as_json"]:
            echo_json(sample.to_dict())
        else:
            print_summary(sample.to_text(), err=False)
        return
    if session.shards is not None:
        with stop_on_interrupt(session.stop):
            part = blur_shards(source, out, session.shards, recipe, session, quiet=quiet)
        print_shards(ctx, part, options)
    with stop_on_interrupt(session.stop):
        summary = blur(source, out, recipe, session, quiet=quiet)
    if isinstance(ctx.obj, float) and summary.images_now:  # with the time to start
        summary = dataclasses.replace(summary, seconds=round(time.time() - ctx.obj, 3))
    if options["html"] is not None:
        originals = source if options["show_originals"] else None
        save_sheet(summary.out, options["html"], SheetOptions(originals, inputs=(source, str(out))))
    names = count_names(Path(summary.out)) if options["flag_captions"] else None
    if options["as_json"]:
        counted = {} if names is None else {"names": dataclasses.asdict(names)}
        echo_json({"version": 1, **dataclasses.asdict(summary), **counted})
    elif not quiet:
        print_summary(summary.to_text())
        if names is not None:
            print_summary(names.to_text())
    ctx.exit(3 if summary.is_incomplete else 0)
