"""``curate duplicates``: near-duplicate images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curate.cli.options import ENGINE, LAYOUT, PATH, SOURCE, WORKERS
from curate.cli.output import check_outputs, report_files, report_options, write_report
from curate.duplicates.hashing import THRESHOLD

_EPILOG = """\b
Examples:
  curate duplicates photos/
  curate duplicates photos/ --faces faces.parquet -o duplicates.json
  curate review photos/ --faces faces.parquet --duplicates duplicates.json
  curate duplicates photos/ out/
"""


@click.command(epilog=_EPILOG)
@click.argument("source", type=SOURCE)
@click.argument("out", type=PATH, required=False)
@click.option(
    "--faces", type=PATH, metavar="FILE",
    help="Faces of SOURCE: which copies of a picture have one, and which have none.",
)  # fmt: skip
@click.option(
    "--max-distance", type=click.IntRange(0, 31), default=THRESHOLD, metavar="BITS",
    help=f"Maximum Hamming distance of two hashes of 256 bits. [default: {THRESHOLD}]",
)  # fmt: skip
@LAYOUT
@WORKERS
@ENGINE
@report_options
@click.pass_context
def command(ctx: click.Context, /, source: str, out: Path | None, **options: Any) -> None:
    """Find images of SOURCE that show the same picture, and copies that were not blurred.

    Re-encoded, rescaled, brighter or darker, mirrored, turned and slightly cropped copies are
    found. With OUT, an output without a hidden face whose copy in SOURCE has one is a leak: exit
    code 1.

    In Python: curate.find_duplicates.
    """
    from curate.duplicates.run import SearchOptions, find_duplicates

    check_outputs([source, out, options["faces"]], report_files(options), "duplicates")
    search = SearchOptions(
        faces=options["faces"],
        layout=options["layout"],
        threshold=options["max_distance"],
        workers=options["workers"],
        engine=options["engine"],
    )
    found = find_duplicates(source, out, search, quiet=options["quiet"])
    write_report(found, options, inputs=(source, out))
    ctx.exit(1 if any(group.leaks for group in found.groups) else 0)
