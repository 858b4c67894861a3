"""``curate manifest``: show, compare and publish manifests."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli.options import PATH
from curate.core.records import escape_unprintable

if TYPE_CHECKING:
    from curate.manifest.diff import Comparison


@click.group()
def command() -> None:
    """Show, compare and publish manifests."""


@command.command()
@click.argument("place", type=PATH)
def show(place: Path) -> None:
    """Show what a run did, on one page.

    PLACE is an OUT, its manifest folder, or a table that curate detect wrote.
    """
    from curate.core.errors import ManifestError
    from curate.manifest.found import load_account
    from curate.manifest.show import format_account, format_page

    if place.is_file():
        account = load_account(place)
        if account is None:
            raise ManifestError(f"{place} does not say how it was made; was it edited?")
        _print(format_account(account, place.name))
    else:
        _print(format_page(_find(place)))


@command.command()
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="A machine-readable comparison.")
def diff(first: Path, second: Path, as_json: bool) -> None:
    """Compare two runs: recipes, outcomes, faces added and lost, by class.

    FIRST and SECOND are OUTs or their manifest folders.
    """
    from curate.manifest.diff import compare

    found = compare(_find(first), _find(second))
    if as_json:
        click.echo(json.dumps({"version": 1, **dataclasses.asdict(found)}, indent=2))
    else:
        _print(format_comparison(found))


@command.command()
@click.argument("out", type=PATH)
@click.argument("public", type=PATH)
@click.option(
    "--min-cell",
    type=click.IntRange(1),
    default=10,
    help="The least count shown of a split or a class. [default: 10]",
)
def publish(out: Path, public: Path, min_cell: int) -> None:
    """Write the public tier of OUT's manifest to the new folder PUBLIC.

    It has no names, paths or digests of images; ids are keyed, and the key
    stays in OUT/manifest/key.txt. Boxes and sizes can still link a record to a
    photo for who has the photo: see manifests/public-1.md.
    """
    from curate.manifest.publish import publish as publish_manifest

    facts = publish_manifest(_find(out), public, min_cell)
    click.echo(
        f"{public}: {facts['counts']['images']:,} records, no names and no digests of images. "
        f"Keep {_find(out) / 'key.txt'} to yourself.",
        err=True,
    )


def format_comparison(found: Comparison) -> str:
    """How two runs differ, for a person."""
    lines = [f"{key}: {a!r} → {b!r}" for key, (a, b) in found.facts.items()]
    if found.only_first or found.only_second:
        lines.append(
            f"Images only in the first: {found.only_first:,}; "
            f"only in the second: {found.only_second:,}."
        )
    total = found.total
    lines.append(
        f"{total.images:,} images in both: {total.faces_lost:,} faces lost, "
        f"{total.faces_added:,} added; {total.now_withheld:,} now withheld, "
        f"{total.now_written:,} now written; {found.changed_outputs:,} outputs and "
        f"{found.changed_sources:,} sources are other files."
    )
    for name, change in found.by_category.items():
        lines.append(
            f"  {name}: {change.faces_lost:,} lost, {change.faces_added:,} added, "
            f"{change.now_withheld:,} now withheld, {change.now_written:,} now written"
        )
    if found.examples:
        lines.append("Look at: " + ", ".join(found.examples[:5]))
    return "\n".join(lines)


def _find(place: Path) -> Path:
    inside = place / "manifest"
    return inside if (inside / "run.json").is_file() else place


def _print(text: str) -> None:
    for line in text.splitlines():
        click.echo(escape_unprintable(line))
