"""Verify an OUT, whatever made it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from curate.core.errors import SetupError, UsageError
from curate.core.registry import Plugin, Registry
from curate.manifest import corrections
from curate.manifest.layout import MANIFEST
from curate.manifest.problems import Problem
from curate.pipeline import check
from curate.pipeline.session import Session, workers_for
from curate.recipe import Recipe
from curate.storage.errors import describe_os_error

CHECKS = Registry(
    "check",
    [("correction", Plugin("curate.balance.correct.verify:iter_problems", "outputs of balance"))],
)
"""Checks of outputs that packages above this one write, resolved by name when needed."""


@dataclass(frozen=True, slots=True)
class Verification:
    """A check of an OUT, which goes on while its problems are read.

    Args:
        problems: what is wrong, streaming.
        sound: what is true where nothing is wrong, a sentence without its end.
    """

    problems: Iterator[Problem]
    sound: str


def verify(out: Path, source: str | None, workers: int | None) -> Verification:
    """Check the OUT of a run or of a correction against its manifest.

    Args:
        out: the output folder.
        source: the SOURCE of a run, to compare pixels with, or None.
        workers: processes, or None for one per usable core.

    Raises:
        UsageError: if a correction is to be compared with its SOURCE.
        ManifestError: if the manifest cannot be read at all.
    """
    if (out / MANIFEST / corrections.FACTS).is_file():
        return _verify_correction(out, source, workers)
    run = check.load_facts(out)
    counts = run["counts"]
    against = " and its pixels against SOURCE" if source else ""
    return Verification(
        check.iter_problems(out, source, workers, run),
        f"{counts['written']:,} images checked for changes and leaks{against}, "
        f"{counts['withheld']:,} withheld, recipe {run['recipe_sha256'][:12]}",
    )


def _verify_correction(out: Path, source: str | None, workers: int | None) -> Verification:
    if source is not None:
        raise UsageError("--source is for the OUT of curate blur; a correction copies its images")
    facts = corrections.load_facts(out / MANIFEST)
    counts = facts["counts"]
    hidden = "" if facts["source"]["obfuscated"] else "; their faces were never hidden"
    images = f", images checked for changes{hidden}" if facts["recipe"].get("writes_images") else ""
    return Verification(
        _iter_problems(out, workers_for(Recipe(), Session(workers=workers)), facts),
        f"{counts['kept'] + counts['fixed']:,} records kept, {counts['removed']:,} removed, "
        f"{counts['made']:,} made{images}, recipe {facts['recipe_sha256'][:12]}",
    )


def _iter_problems(out: Path, workers: int, facts: dict[str, object]) -> Iterator[Problem]:
    try:
        yield from CHECKS.resolve("correction")(out.resolve(), workers, facts)
    except OSError as error:
        raise describe_os_error(error, out, "read") from error
    except MemoryError:
        raise SetupError("there is not enough memory; try fewer --workers") from None
