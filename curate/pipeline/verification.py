"""Verify an OUT, whatever made it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from curate.core.errors import DataError, SetupError, UsageError
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
    [
        ("correction", Plugin("curate.balance.correct.check:iter_problems", "outputs of balance")),
        ("twins", Plugin("curate.duplicates.run:iter_problems", "near-duplicates left unblurred")),
    ],
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


def verify(out: Path, source: str | None, workers: int | None, twins: bool = True) -> Verification:
    """Check the OUT of a run or of a correction against its manifest.

    Args:
        out: the output folder.
        source: the SOURCE of a run, to compare pixels with, or None.
        twins: whether outputs without a hidden face are compared with the other images of
            SOURCE, in case the near-duplicate of one has a face; needs ``source``.
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
    problems = check.iter_problems(out, source, workers, run)
    if source is not None and twins:
        problems = itertools.chain(problems, _iter_twins(out, source, workers))
    return Verification(
        problems,
        f"{counts['written']:,} images checked for changes and leaks{against}, "
        f"{counts['withheld']:,} withheld, recipe {run['recipe_sha256'][:12]}",
    )


def _iter_twins(out: Path, source: str, workers: int | None) -> Iterator[Problem]:
    """Look for them where everything else has been looked at; a damaged OUT has been reported."""
    with contextlib.suppress(DataError):
        size = workers_for(Recipe(), Session(workers=workers))
        yield from CHECKS.resolve("twins")(source, out, size)


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
