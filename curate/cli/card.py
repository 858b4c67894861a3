"""``curate card``: write a dataset card, Croissant and a citation file."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from curate.cli.options import EVIDENCE, FORM, OUT, TEMPLATE
from curate.cli.printing import print_summary

FORMS = ("keep", "parquet", "webdataset", "imagefolder")

_EPILOG = """\b
Examples:
  curate card out/ --init          # writes out/card.toml, to be filled in
  curate card out/
  curate card out/ --check         # exit 1 if a figure is no longer true
  curate card out/ --profile neurips2026
"""


@click.command(epilog=_EPILOG)
@click.argument("out", type=OUT)
@click.option("--init", is_flag=True, help="Write OUT/card.toml with every question explained.")
@click.option(
    "--check", is_flag=True, help="Write nothing; recompute every figure and compare. Exit 1 names"
    " what differs."
)  # fmt: skip
@EVIDENCE
@TEMPLATE
@FORM
@click.option(
    "--profile", type=click.Choice(["neurips2026", "eu"]),
    help="Fail on any empty required RAI field (neurips2026), or on any governance row without"
    " evidence (eu).",
)  # fmt: skip
@click.pass_context
def command(
    ctx: click.Context,
    /,
    out: Path,
    init: bool,
    check: bool,
    reports: tuple[Path, ...],
    template: Path | None,
    form: str | None,
    profile: str | None,
) -> None:
    """Write README.md, croissant.json and CITATION.cff of OUT, from its manifest and reports.

    OUT is that of `curate blur` or `curate balance`. Every figure points to its
    evidence; what was not measured says so. Text between the keep comments, and
    YAML that others added, survive.

    In Python: curate.write_card.
    """
    import curate

    options = curate.CardOptions(
        init=init, check=check, template=template, reports=reports, form=form, profile=profile
    )
    report = curate.write_card(out, options)
    for note in report.notes:
        print_summary(f"note: {note}")
    for problem in report.problems:
        print_summary(f"{problem.file}: {problem.reason}", err=False)
    if report.problems:
        print_summary(f"The card of {out} is not what its evidence says.")
        ctx.exit(1)
    if check:
        print_summary(f"The card of {out} is what its evidence says.")
    elif init:
        print_summary(
            f"Wrote {report.written[0]}. Answer it, then: curate card {shlex.quote(str(out))}"
        )
    else:
        names = ", ".join(path.name for path in report.written)
        print_summary(f"Wrote {names} in {out}.")
