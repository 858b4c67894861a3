"""``curate push``: upload a finished dataset to the Hugging Face Hub."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.options import EVIDENCE, FORM, JSON, OUT, PATH, QUIET, SOURCE, TEMPLATE, WORKERS
from curate.cli.printing import echo, echo_json, print_summary
from curate.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from curate.publishing.hub.push import PushReport
    from curate.publishing.hub.upload import Progress

_LISTED = 20

_EPILOG = """\b
Examples:
  curate push out/ my-lab/street-scenes --dry-run
  curate push out/ my-lab/street-scenes
  curate push out/ my-lab/street-scenes --public --gated manual
  curate push out/ my-lab/street-scenes --withdraw train/cat/0001.jpg
  curate push out/ --to s3://bucket/street-scenes
"""


@click.command(epilog=_EPILOG)
@click.argument("out", type=OUT)
@click.argument("repo_id", required=False)
@click.option("--to", type=SOURCE, help="Write to a folder or an fsspec URL instead of the Hub.")
@FORM
@click.option(
    "--public/--private", default=False, show_default=True,
    help="Who can see the repository; it becomes public when everything is there.",
)  # fmt: skip
@click.option(
    "--gated", type=click.Choice(["auto", "manual"]),
    help="Readers accept the terms of card.toml first; granted automatically or by you.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask before making a repository public.")
@click.option("--source", type=SOURCE, help="SOURCE of the run: compare pixels, count its records.")
@EVIDENCE
@TEMPLATE
@click.option(
    "--verify", type=click.Choice(["sample", "all"]), default="sample", show_default=True,
    help="How much is downloaded again and compared afterwards.",
)  # fmt: skip
@click.option(
    "--withdraw", multiple=True, metavar="ID",
    help="Remove a record from OUT and from what is published; may be given several times.",
)  # fmt: skip
@click.option(
    "--parent", metavar="COMMIT",
    help="Go on from this commit, which somebody else made; what differs is replaced.",
)  # fmt: skip
@click.option(
    "--state", type=PATH, metavar="FOLDER",
    help="Where the state and converted files are. [default: OUT.push beside OUT]",
)  # fmt: skip
@WORKERS
@click.option("--dry-run", is_flag=True, help="Send nothing; list what would be sent, and where.")
@JSON
@QUIET
@click.pass_context
def command(ctx: click.Context, /, out: Path, repo_id: str | None, **options: Any) -> None:
    """Upload OUT to the dataset repository REPO_ID, or write it to --to.

    Before a single byte is sent OUT is verified, every record accounted for and
    the card compared with its evidence. The upload is built from the manifest,
    never from what lies in a folder. Run the same command again to go on after
    an interruption.

    In Python: curate.push.
    """
    import curate
    from curate.pipeline.progress import make_notifier
    from curate.publishing.hub.gate import GateError

    public = options.pop("public")
    if public and not options["yes"] and not options["dry_run"]:
        _confirm(repo_id)
    quiet, as_json = options.pop("quiet"), options.pop("as_json")
    del options["yes"]
    full = options.pop("verify") == "all"
    notify = make_notifier(quiet)
    try:
        report = curate.push(
            out,
            repo_id,
            curate.PushOptions(
                **options,
                public=public,
                full=full,
                watch=(lambda _: None) if quiet else _show,
                notify=notify,
            ),
        )
    except GateError as error:
        for refusal in error.refusals:
            print_summary(f"refused: {refusal.file}: {refusal.reason}")
        count = len(error.refusals) + error.more
        faults = "1 fault" if count == 1 else f"{count:,} faults"
        raise DataError(f"nothing was sent: {faults} of {out}; {error.remedy}") from None
    if as_json:
        echo_json({"version": 1, **_to_json(report)})
        return
    if report.dry_run:
        for path, size in report.files.items():
            echo(f"{size:>14,}  {path}")
    for line in report.to_text().splitlines():
        notify(line)


def _confirm(repo_id: str | None) -> None:
    """Ask before a repository becomes public.

    Raises:
        UsageError: if the answer is no, or nobody can answer.
    """
    try:
        agreed = click.confirm(f"Make {repo_id} visible to everybody?", err=True)
    except click.Abort:
        echo("", err=True)
        agreed = False
    if not agreed:
        raise UsageError(
            "--public was not confirmed, and nothing was sent; answer y, add --yes, or leave out "
            "--public"
        )


def _to_json(report: PushReport) -> dict[str, Any]:
    value = dataclasses.asdict(report)
    return {**{key: item for key, item in value.items() if key != "version"},
            "dataset_version": report.version}  # fmt: skip


def _show(progress: Progress) -> None:
    echo(
        f"{progress.files:,} of {progress.total_files:,} files, {progress.bytes:,} of "
        f"{progress.total_bytes:,} bytes",
        err=True,
    )
