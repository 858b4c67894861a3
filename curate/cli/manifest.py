"""``curate manifest``: show, compare and publish manifests."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from curate.cli.options import JSON, PATH, SIGN
from curate.cli.printing import echo, echo_json, print_summary
from curate.core.errors import ManifestError


@click.group()
def command() -> None:
    """Show, compare, publish, checksum and sign manifests."""


@command.command(short_help="show what a run did, and what it withheld")
@click.argument("path", type=PATH)
@click.option(
    "--withheld", is_flag=True, help="List the withheld images and label maps with their reasons."
)
@JSON
def show(path: Path, withheld: bool, as_json: bool) -> None:
    """Show what a run did.

    PATH is an OUT, the folder of its manifest, a public tier, or a table of curate detect.

    In Python: curate.load_manifest.
    """
    from curate.manifest.faces import load_faces_info
    from curate.manifest.show import format_faces_info, format_public, load_manifest
    from curate.manifest.store import find_manifest, find_public_run

    if withheld:
        any_withheld = False
        for name, reason in _iter_withheld(path):
            any_withheld = True
            echo(json.dumps({"id": name, "reason": reason}) if as_json else f"{name}: {reason}")
        if not any_withheld and not as_json:
            print_summary(f"Nothing is withheld in {path}.")
    elif path.is_file():
        info = load_faces_info(path)
        if info is None:
            raise ManifestError(f"{path} does not record its run; it was edited")
        _print(info, as_json, format_faces_info(info, path.name))
    elif (public := find_public_run(find_manifest(path))) is not None:
        _print(public, as_json, format_public(public))
    else:
        manifest = load_manifest(path)
        _print(manifest.run, as_json, manifest.to_text())


@command.command(short_help="compare two runs: recipes, outcomes, faces")
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@JSON
def diff(first: Path, second: Path, as_json: bool) -> None:
    """Compare two runs: recipes, outcomes, faces added and lost, by class.

    FIRST and SECOND are OUTs or the folders of their manifests.

    In Python: curate.diff_manifests.
    """
    from curate.manifest.diff import diff_manifests

    found = diff_manifests(first, second)
    if as_json:
        echo_json({"version": 1, **dataclasses.asdict(found)})
    else:
        print_summary(found.to_text(), err=False)


@command.command(short_help="write the public tier of a manifest")
@click.argument("out", type=PATH)
@click.argument("public", type=PATH)
@click.option(
    "--min-cell",
    type=click.IntRange(1),
    default=10,
    metavar="N",
    show_default=True,
    help="Minimum count shown of a split or a class.",
)
@click.option(
    "--class-names",
    is_flag=True,
    help="Show counts by class with the names of classes, which may be people. Classes named by "
    "WordNet ids are always shown.",
)
def publish(out: Path, public: Path, min_cell: int, class_names: bool) -> None:
    """Write the public tier of OUT's manifest to the new folder PUBLIC.

    It has no names, paths or digests of images, and no names of classes
    unless you ask for them. Ids are keyed; the key stays in
    OUT/manifest/key.txt. With the original photos at hand, boxes and sizes can
    still link a record to a photo: see manifests/public-1.md.

    In Python: curate.publish_manifest.
    """
    from curate.manifest.publish import publish_manifest
    from curate.manifest.store import KEY, find_manifest

    facts = publish_manifest(out, public, min_cell, class_names=class_names)
    echo(
        f"{public}: {facts['counts']['images']:,} records without names or digests of images.",
        f"Do not share {find_manifest(out) / KEY}.",
        err=True,
    )


@command.command(short_help="write the digests of all files again, and sign them")
@click.argument("out", type=PATH)
@SIGN
def checksum(out: Path, sign: Path | None) -> None:
    """Write the digests of OUT's files again, and sign them.

    After a change of your own, such as an edited README.md, `curate verify`
    reports that file until this is run. What has changed since the last
    time is listed. Without --sign, a signature is removed.

    In Python: curate.write_checksums.
    """
    from curate.manifest.checksums import write_checksums

    print_summary(write_checksums(out, sign).to_text())


def _iter_withheld(path: Path) -> Iterator[tuple[str, str]]:
    """Ids and reasons of what was withheld, of an output or of a table of faces."""
    from curate.manifest.faces import iter_faces
    from curate.manifest.others import iter_others
    from curate.manifest.show import load_manifest

    manifest = None if path.is_file() else load_manifest(path)
    for entry in iter_faces(path) if manifest is None else manifest.withheld():
        if entry.reason is not None:
            yield entry.id, entry.reason
    for other in () if manifest is None else iter_others(manifest.path):
        if other.withheld and other.reason is not None:
            yield other.path, other.reason


def _print(facts: Any, as_json: bool, text: str) -> None:
    """Print facts as JSON, or a text about them that fits the terminal."""
    if as_json:
        echo_json(facts)
    else:
        print_summary(text, err=False)
