"""``curate plan``: time, cost, storage and network of a run, from a measured sample."""

from __future__ import annotations

from typing import Any

import click

from curate.cli.options import ENGINE, LAYOUT, SOURCE, WORKERS
from curate.cli.output import check_outputs, report_files, report_options, write_report
from curate.cli.recipe import build_recipe, detection_options, obfuscation_options

_EPILOG = """\b
Examples:
  curate plan photos/ --workers 64
  curate plan photos/ --workers 512 --engine ray --price 0.04 --images 100000000
"""


@click.command(epilog=_EPILOG)
@click.argument("source", type=SOURCE)
@click.option(
    "--images",
    type=click.IntRange(1, 10**12),
    metavar="N",
    help="Plan for so many images like those of SOURCE. [default: those of SOURCE]",
)
@click.option(
    "--price",
    type=float,
    metavar="X",
    help="Price of a core-hour, in any currency. [default: none]",
)
@click.option(
    "--sample",
    type=click.IntRange(2, 100_000),
    metavar="N",
    default=48,
    help="Images that are measured, drawn at random. [default: 48]",
)
@obfuscation_options
@detection_options
@LAYOUT
@WORKERS
@ENGINE
@report_options
def command(source: str, **options: Any) -> None:
    """Estimate what `curate blur` would take for SOURCE, or for many more images like it.

    A random sample is processed on this machine and nothing is written. Time,
    core-hours, cost, storage and network follow from it, with the assumptions
    listed.

    In Python: curate.plan.
    """
    from curate.pipeline.plan import PlanOptions, plan
    from curate.pipeline.session import Session

    check_outputs((source,), report_files(options), "plan")
    recipe, weights = build_recipe(options)
    session = Session(
        layout=options["layout"],
        workers=options["workers"],
        engine=options["engine"],
        faces=options["faces"],
        weights=weights,
        skip_self_test=options["skip_self_test"],
        allow_missing=options["allow_missing"],
    )
    chosen = PlanOptions(options["sample"], options["images"], options["price"])
    estimate = plan(source, chosen, recipe, session, quiet=options["quiet"])
    write_report(estimate, options, inputs=(source,))
