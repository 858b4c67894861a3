"""``curate pull``: download a published dataset."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.options import PATH, QUIET


@click.command(
    epilog="\b\nExamples:\n  curate pull my-lab/street-scenes copy/\n"
    "  curate pull my-lab/street-scenes@curate-0123456789abcdef copy/\n"
)
@click.argument("repo_id", metavar="REPO_ID[@REVISION]")
@click.argument("out", type=PATH)
@QUIET
def command(repo_id: str, out: Path, quiet: bool) -> None:
    """Download a dataset that `curate push` has published to the new folder OUT.

    OUT appears when every file is there and is what the public manifest lists.
    Run the same command again to go on after an interruption.

    In Python: curate.pull.
    """
    import curate
    from curate.pipeline.progress import make_notifier

    notify = make_notifier(quiet)
    for line in curate.pull(repo_id, out, notify, quiet=quiet).to_text().splitlines():
        notify(line)
