"""``curate review``: people correct boxes, and a bound on what is still missed."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.group import DefaultGroup
from curate.cli.options import GROUPS, HTML, JSON, LAYOUT, PATH, SOURCE, WORKERS
from curate.cli.output import check_outputs
from curate.cli.printing import echo_json, print_summary
from curate.core.errors import UsageError
from curate.review.priority import ORDERS
from curate.review.sampling import STRATA

if TYPE_CHECKING:
    pass

_EPILOG = """\b
Orders:
{orders}

\b
Further commands, each with --help:
  curate review export   write the reviewed boxes for curate blur --faces
  curate review report   write review.json and a page
  curate review redo     blur again with the faces that a review of OUT has found

\b
Examples:
  curate review photos/ --faces faces.parquet
  curate review export faces.review -o reviewed.parquet
  curate blur photos/ out/ --faces reviewed.parquet
  curate review photos/ --run out/ --sample --at-most 1%
""".format(orders="\n".join(f"  {name}: {what}" for name, what in ORDERS.items()))


class _Share(click.ParamType[float]):
    """A share, as 0.01 or 1%."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, float):
            return value
        text = str(value).strip()
        try:
            return float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            self.fail(f"{value!r} is not a share; give 0.01 or 1%", param, ctx)


@click.group(cls=DefaultGroup, default="start")
def command() -> None:
    """Correct the boxes of a detector, and bound the share of images with a missed face."""


SHARE = _Share()


@command.command("start", epilog=_EPILOG)
@click.argument("source", type=SOURCE, required=False)
@click.option(
    "--faces", type=PATH, metavar="FILE", help="Proposed boxes, such as those of `curate detect`."
)
@click.option("--run", type=PATH, metavar="OUT", help="Review the outputs of a run instead.")
@click.option(
    "--folder",
    type=PATH,
    metavar="DIR",
    help="Folder of the decisions. [default: the name of --faces, --run or SOURCE with .review, or "
    ".sample with --sample]",
)
@click.option(
    "--order",
    type=click.Choice(list(ORDERS)),
    default="found",
    show_default=True,
    help="Order of the images; see Orders below.",
)
@click.option(
    "--filter", "filters", multiple=True, metavar="CONDITION",
    help="Review only images such as faces=0, confidence<0.5 or split=train; can be repeated.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Maximum number of images.")
@GROUPS
@click.option("--by", metavar="NAME", help="Attribute of --groups by which a sample is stratified.")
@click.option(
    "--duplicates", type=PATH, metavar="FILE",
    help="JSON of curate duplicates: copies without a face, of which another has one, come first.",
)  # fmt: skip
@click.option("--reviewer", metavar="NAME", help="Your name. [default: the user's]")
@click.option(
    "--blind", is_flag=True, help="Every reviewer decides every image, without seeing the others'."
)
@click.option("--sample", is_flag=True, help="Review a random sample, and state an upper bound.")
@click.option(
    "--at-most", type=SHARE, help="Share of images with a visible face to rule out. [default: 1%]"
)
@click.option(
    "--confidence", type=SHARE, help="Confidence level of the one-sided upper bound. [default: 95%]"
)
@click.option(
    "--allowed", type=click.IntRange(0), metavar="N",
    help="Images with a visible face that the sample may have without failing --at-most.",
)  # fmt: skip
@click.option(
    "--stratify", type=click.Choice(STRATA), help="Stratify the sample by score or group."
)
@click.option(
    "--checks", type=click.IntRange(0), metavar="N",
    help="Control images, in which one box is removed, to measure how many faces a reviewer finds. "
    "[default: 0]",
)  # fmt: skip
@click.option(
    "--early", is_flag=True, help="Allow to stop before the end of the sample; it is larger then."
)
@click.option("--seed", type=int, default=0, help="Random seed. [default: 0]")
@LAYOUT
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Port of the page. [default: the last one used, or a free one]",
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@JSON
def start(source: str | None, **options: Any) -> None:
    """Correct the boxes of SOURCE on a web page of this machine.

    Every decision is on the disk before the page says saved; run the same command again to
    go on. --sample draws images of what would be published and states an upper bound on the
    share that shows a face.

    In Python: curate.start_review.
    """
    from curate.pipeline.progress import make_notifier
    from curate.review.run import start_review

    show = partial(print_summary, err=False)
    state = start_review(
        source,
        build_options(options),
        notify=make_notifier(quiet=False) if options["as_json"] else show,
        browser=not options["no_browser"],
    )
    if options["as_json"]:
        echo_json({"version": 1, **dataclasses.asdict(state)})
    else:
        print_summary(state.to_text(), err=False)


def build_options(options: dict[str, Any]) -> Any:
    """The options of a review from those of the command line."""
    from curate.review.collect import Queueing, load_contradicted
    from curate.review.run import ReviewOptions
    from curate.review.sampling import Target

    chosen = {
        name: options[name]
        for name in ("at_most", "confidence", "allowed", "stratify", "checks")
        if options[name] is not None
    }
    if not options["sample"] and (chosen or options["early"]):
        name = next(iter(chosen), "early").replace("_", "-")
        raise UsageError(f"--{name} is for --sample; add it")
    target = Target(**chosen, early=options["early"], seed=options["seed"])
    duplicates = options["duplicates"]
    return ReviewOptions(
        faces=options["faces"],
        run=options["run"],
        folder=options["folder"],
        layout=options["layout"],
        reviewer=options["reviewer"],
        blind=options["blind"],
        queueing=Queueing(
            order=options["order"],
            filters=options["filters"],
            limit=options["limit"],
            seed=options["seed"],
            contradicted=load_contradicted(duplicates) if duplicates else frozenset(),
        ),
        groups=options["groups"],
        by=options["by"],
        sample=target if options["sample"] else None,
        port=options["port"],
    )


@command.command()
@click.argument("folder", type=PATH, required=False)
@click.option(
    "--output",
    "-o",
    required=True,
    type=PATH,
    metavar="FILE",
    help="Table of faces to write (Parquet).",
)
@JSON
def export(folder: Path | None, output: Path, as_json: bool) -> None:
    """Write the boxes of the review in FOLDER for `curate blur --faces`.

    Every box says who decided it, a person or the detector, and every image whether it was
    reviewed, sampled or not looked at.

    In Python: curate.export_review.
    """
    from curate.review.export import export_review

    done = export_review(folder, output)
    if as_json:
        echo_json({"version": 1, **dataclasses.asdict(done)})
    else:
        print_summary(done.to_text())


@command.command()
@click.argument("folder", type=PATH, required=False)
@click.option(
    "--output", "-o", type=PATH, metavar="FILE", help="Write the report as JSON to this file."
)
@HTML
@JSON
@click.option(
    "--attach", type=PATH, metavar="OUT",
    help="Put the report into the manifest of OUT, without reviewers' names.",
)  # fmt: skip
def report(
    folder: Path | None,
    output: Path | None,
    html: Path | None,
    attach: Path | None,
    as_json: bool,
) -> None:
    """State what the review in FOLDER has found, and the bound of its sample.

    In Python: curate.report_review.
    """
    from curate.review.summary import report_review

    check_outputs((), {"json": output, "html": html}, "review report")
    report = report_review(folder, output, html, attach)
    if as_json:
        echo_json(report)
    print_summary(report["statement"])


@command.command()
@click.argument("folder", type=PATH)
@click.argument("source", type=SOURCE)
@click.argument("out", type=PATH)
@WORKERS
@click.pass_context
def redo(ctx: click.Context, /, folder: Path, source: str, out: Path, workers: int | None) -> None:
    """Blur SOURCE again into a new OUT, with the faces that the review in FOLDER has found.

    FOLDER is a review of outputs (--run). The recipe is the reviewed run's, and images in
    which nothing was found give the same bytes as before.

    In Python: curate.redo_reviewed.
    """
    from curate.cli.interrupt import stop_on_interrupt
    from curate.pipeline.progress import show_progress
    from curate.pipeline.session import Session
    from curate.review.export import redo_reviewed

    with (
        show_progress(Session(workers=workers), quiet=False) as session,
        stop_on_interrupt(session.stop),
    ):
        summary = redo_reviewed(folder, source, out, session)
    print_summary(summary.to_text())
    ctx.exit(3 if summary.is_incomplete else 0)
