"""Every option that can change the result of a correction, frozen and hashable."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from curate.balance.contingency import Columns
from curate.balance.groups import Bins
from curate.core.errors import UsageError
from curate.recipe import format_json, shard_size_of

STRATEGIES: Mapping[str, str] = {
    "reweigh": "a weight for every record, so that groups and labels are independent",
    "subset": "the largest part of the dataset that meets the target; the rest is removed",
    "oversample": "repeat records of scarce groups until the target is met",
    "augment": "as oversample, but every repetition is altered by an augmentation",
    "augment-positive": "augmented records with a label for the groups that have it too rarely",
    "labels": "remove what has a label that `curate audit labels` decided against",
}
"""What each strategy does, in a line."""

TOLERANCE = 0.01
"""How far a share may be from its target where nothing is said."""

ROWS_A_SHARD = 16_384
"""Records per unit of work where no image is written."""

MAKING = frozenset({"oversample", "augment", "augment-positive"})
"""Strategies that make records; never of a split that is for validation or test."""

AUGMENTING = frozenset({"augment", "augment-positive"})
"""Strategies whose records are altered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balancing:
    """What a correction does; two runs with equal options and inputs give equal bytes.

    Args:
        strategy: one of `STRATEGIES`.
        by: groupings: attributes, alone or crossed.
        label: the column of labels, or None.
        within: whether the target is to be met within each label.
        target: ``uniform``, ``observed`` or ``table``.
        tolerance: how far a share may be from its target, 0..1; None for `TOLERANCE`, or a
            tenth of the smallest share that a target wants, if that is less.
        least: records that each label must keep.
        most_copies: times that one record may be in the result.
        positive: the label that augment-positive is about, or None.
        rate: the base rate it is to reach: ``highest``, ``overall`` or a number, 0..1.
        augmentation: a preset's name, or ``file``; None where nothing is altered.
        splits: splits that are corrected; none for all that the strategy may correct.
        per: whether records or people are counted.
        separator: what stands between several values in one text.
        bins: ranges of columns that are numbers.
        writes_images: whether OUT gets a dataset, or only the list of what is to be done.
        seed: of the choice of records, and of augmentations.
        shard_size: images per unit of work, or None.
        files: digests of the tables and files given, by what they are.

    Raises:
        UsageError: if options contradict each other.
    """

    strategy: str
    by: tuple[Columns, ...] = ()
    label: str | None = None
    within: bool = False
    target: str = "uniform"
    tolerance: float | None = None
    least: int = 1
    most_copies: int = 10
    positive: str | None = None
    rate: str | float = "highest"
    augmentation: str | None = None
    splits: tuple[str, ...] = ()
    per: str = "record"
    separator: str | None = None
    bins: Mapping[str, Bins] = field(default_factory=dict)
    writes_images: bool = True
    seed: int = 0
    shard_size: int | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(self.strategy in STRATEGIES, f"there is no strategy {self.strategy!r}; choose "
                 f"one of: {', '.join(STRATEGIES)}")  # fmt: skip
        _require(
            self.tolerance is None or 0 <= self.tolerance < 1,
            "--tolerance is a share from 0 to below 1",
        )
        _require(self.least >= 0, "--min-per-label is 0 or more")
        _require(self.most_copies >= 2, "--most-copies is 2 or more")
        _require(0 <= self.seed < 2**63, "--seed is 0 or more, below 2^63")
        if self.strategy == "labels":
            _require(self.label is not None, "labels needs --label, the column that has them")
        else:
            _require(bool(self.by), "say which groups to look at, as with --by gender,age")
        attributes = [name for group in self.by for name in group]
        _require(self.label not in attributes, f"{self.label} is both a label and an attribute")
        for group in self.by:
            named = ",".join(group)
            _require(len(set(group)) == len(group) and all(group),
                     f"--by {named} names an attribute twice, or none")  # fmt: skip
        self._check_positive()

    def _check_positive(self) -> None:
        if self.strategy != "augment-positive":
            _require(self.positive is None, "--positive is for augment-positive")
            _require(self.rate == "highest", "--base-rate is for augment-positive")
            return
        _require(
            self.target == "uniform",
            "augment-positive aims at a base rate: give --base-rate, and no --target",
        )
        _require(self.label is not None and self.positive is not None,
                 "augment-positive needs --label and --positive, the label to add")  # fmt: skip
        if not isinstance(self.rate, str):
            _require(0 < self.rate < 1, "--base-rate is highest, overall or between 0 and 1")

    @property
    def attributes(self) -> Columns:
        """Every attribute, in the order in which it was first named."""
        return tuple(dict.fromkeys(name for group in self.by for name in group))

    @property
    def device(self) -> str:
        """No network runs."""
        return "cpu"

    @property
    def digest(self) -> str:
        """SHA-256 of the options' canonical JSON, in hexadecimal."""
        return hashlib.sha256(format_json(self.to_dict()).encode()).hexdigest()

    def shard_size_for(self, images: int) -> int:
        """Images per shard; follows from the dataset alone, never from the number of workers."""
        if self.shard_size is None and not self.writes_images:
            return ROWS_A_SHARD
        return self.shard_size or shard_size_of(images)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        plain = asdict(self)
        plain["by"] = [list(group) for group in self.by]
        plain["splits"] = list(self.splits)
        plain["bins"] = {
            name: {"names": list(bins.names), "edges": list(bins.edges)}
            for name, bins in self.bins.items()
        }
        plain["files"] = dict(self.files)
        return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Where what a correction reads is; nothing here stands in an output.

    Args:
        groups: a table of groups, or None.
        id_column: its column of ids; None for the first of the usual names.
        targets: tables of reference populations.
        labels: what `curate audit labels` decided, or None.
        augmentation: a preset's name or a file, or None.
        layout: SOURCE's, or ``auto``.
        shows_faces: whether images may go to OUT although no run has hidden their faces.
    """

    groups: Path | None = None
    id_column: str | None = None
    targets: tuple[Path, ...] = ()
    labels: Path | None = None
    augmentation: str | None = None
    layout: str = "auto"
    shows_faces: bool = False


def _require(valid: bool, message: str) -> None:
    if not valid:
        raise UsageError(message)
