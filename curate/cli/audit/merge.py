"""``curate audit merge``: the audits of several sites as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curate.cli.audit.answers import check_outputs, report_options, write_answer
from curate.cli.options import PATH


@click.command("merge")
@click.argument("audits", type=PATH, nargs=-1, required=True)
@report_options
def command(audits: tuple[Path, ...], **options: Any) -> None:
    """Join the AUDITS of several sites, which share nothing but their counts.

    The same as an audit of all their records together, where no site hid any
    counts; what one hides stays hidden. A record must not be at two sites.
    """
    from curate.balance.audit.run import merge_audits

    check_outputs(audits, options)
    write_answer(merge_audits(audits), options)
