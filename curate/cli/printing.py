"""Printing on the terminal: nothing that is printed moves the cursor or forges a line."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

import click

from curate.core.records import escape_unprintable
from curate.report.text import typeset, wrap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curate.pipeline.output import ShardsSummary


def print_shards(ctx: click.Context, part: ShardsSummary, options: Mapping[str, Any]) -> NoReturn:
    """Print what a process with ``--shards`` has done, and exit with the command's code."""
    if options["as_json"]:
        echo_json({"version": 1, **asdict(part)})
    elif not options["quiet"]:
        print_summary(part.to_text())
    ctx.exit(3 if part.is_incomplete else 0)


def echo(*lines: str, err: bool = False) -> None:
    """Print lines; names in them can neither move the cursor nor start another line."""
    click.echo("\n".join(map(escape_unprintable, lines)), err=err)


def echo_json(value: Any) -> None:
    """Print a value as JSON in ASCII."""
    click.echo(json.dumps(value, indent=2))


def echo_text(text: str) -> None:
    """Print JSON with escapes for characters that could move the cursor; it has the same value."""
    escaped = (
        letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1]
        for letter in text
    )
    click.echo("".join(escaped), nl=False)


def print_summary(text: str, err: bool = True) -> None:
    """Print a text: nothing in it moves the cursor, and its lines fit the terminal.

    Args:
        text: lines.
        err: whether it goes to stderr rather than stdout.
    """
    stream = sys.stderr if err else sys.stdout
    text = "\n".join(escape_unprintable(line) for line in typeset(text).split("\n"))
    if stream is not None and stream.isatty():
        text = wrap(text, shutil.get_terminal_size().columns)
    click.echo(text, err=err)
