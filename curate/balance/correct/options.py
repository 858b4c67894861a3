"""Options of a correction: everything that can change its output, frozen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from curate.balance.contingency import Columns
from curate.balance.groups import Bins, parse_groupings
from curate.core.errors import UsageError, describe_choice
from curate.core.records import set_names
from curate.recipe import Recipe, format_json, shard_size_of

STRATEGIES: Mapping[str, str] = {
    "reweigh": "a weight per record, so that groups and labels are independent",
    "subset": "the largest subset that meets the target",
    "oversample": "repeat records of under-represented groups until the target is met",
    "augment": "like oversample, but with augmented copies",
    "augment-positive": "augmented copies with a label for groups whose base rate is low",
    "labels": "remove records with a label that `curate audit labels` removed",
}
"""Strategies with a one-line description."""

TOLERANCE = 0.01
"""Default maximum difference of a share from its target."""

ROWS_A_SHARD = 16_384
"""Records per unit of work if no images are written."""

ADDING = frozenset({"oversample", "augment", "augment-positive"})
"""Strategies that add records; never to validation or test splits."""

AUGMENTING = frozenset({"augment", "augment-positive"})
"""Strategies whose added records are augmented."""


_KEYS = {"min_per_label": "least", "max_copies": "most_copies"}  # names in balance.json, version 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceOptions:
    """Options of a correction; equal options and inputs give equal bytes.

    Args:
        strategy: one of `STRATEGIES`.
        by: attributes; several crossed as ``"gender,age"`` or ``("gender", "age")``.
        label: the column of labels, or None.
        within: meet the target within each label.
        target: ``uniform``, ``observed`` or ``table``.
        tolerance: maximum difference of a share from its target, 0..1; None for `TOLERANCE`,
            or a tenth of the smallest target share if that is less.
        min_per_label: minimum records to keep per label.
        max_copies: maximum occurrences of a record in the result.
        positive: the positive label of augment-positive, or None.
        rate: its target base rate: ``highest``, ``overall`` or a number, 0..1.
        augmentation: a preset's name, or ``file``; None without augmentation.
        splits: splits to correct; empty for all that the strategy may correct.
        per: unit of counting, ``record`` or ``person``.
        separator: separator of several values in one text field.
        bins: ranges of numeric columns.
        writes_images: write a dataset; only the decisions if False.
        seed: random seed of the selection of records and of augmentations.
        shard_size: images per unit of work, or None.
        include: patterns of files beside the images that are copied unread, in addition to those
            of the run that wrote SOURCE.
        drop_keys: kinds of content, and keys, that are dropped from annotations; None for those
            of the run that wrote SOURCE, or embeddings and EXIF data.
        files: SHA-256 of the input files, by role.

    Raises:
        UsageError: if options contradict each other.
    """

    strategy: str
    by: Sequence[str | Columns] = ()
    label: str | None = None
    within: bool = False
    target: str = "uniform"
    tolerance: float | None = None
    min_per_label: int = 1
    max_copies: int = 10
    positive: str | None = None
    rate: str | float = "overall"
    augmentation: str | None = None
    splits: tuple[str, ...] = ()
    per: str = "record"
    separator: str | None = None
    bins: Mapping[str, Bins] = field(default_factory=dict)
    writes_images: bool = True
    seed: int = 0
    shard_size: int | None = None
    include: Sequence[str] = ()
    drop_keys: Sequence[str] | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by", parse_groupings(self.by))
        set_names(self, "splits", "include", "drop_keys")
        for name in ("include", "drop_keys"):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, tuple(sorted(set(values))))
        _require(
            self.strategy in STRATEGIES, describe_choice("strategy", self.strategy, STRATEGIES)
        )
        _require(
            self.tolerance is None or 0 <= self.tolerance < 1,
            "--tolerance must be at least 0 and below 1",
        )
        _require(self.min_per_label >= 0, "--min-per-label must be at least 0")
        _require(self.max_copies >= 2, "--max-copies must be at least 2")
        _require(0 <= self.seed < 2**63, "--seed must be at least 0 and below 2^63")
        if self.strategy == "labels":
            _require(
                self.label is not None, "strategy labels requires --label, the column of labels"
            )
        else:
            _require(bool(self.by), "no attributes given; use for example --by gender,age")
        attributes = [name for group in self.groupings for name in group]
        _require(
            self.label not in attributes,
            f"{self.label} is both the label and an attribute; choose one",
        )
        for group in self.groupings:
            named = ",".join(group)
            _require(len(set(group)) == len(group) and all(group),
                     f"--by {named} names an attribute twice, or none")  # fmt: skip
        self._check_positive()

    def _check_positive(self) -> None:
        if self.strategy != "augment-positive":
            _require(self.positive is None, "--positive is only for strategy augment-positive")
            _require(self.rate == "overall", "--base-rate is only for strategy augment-positive")
            return
        _require(
            self.target == "uniform",
            "augment-positive has no --target; give --base-rate",
        )
        _require(self.label is not None and self.positive is not None,
                 "augment-positive requires --label and --positive")  # fmt: skip
        if not isinstance(self.rate, str):
            _require(0 < self.rate < 1, "--base-rate must be highest, overall or between 0 and 1")

    @property
    def groupings(self) -> tuple[Columns, ...]:
        """``by`` as columns."""
        return parse_groupings(self.by)

    @property
    def attributes(self) -> Columns:
        """Every attribute, in the order in which it was first named."""
        return tuple(dict.fromkeys(name for group in self.groupings for name in group))

    def with_choices_of(self, recipe: Mapping[str, Any]) -> BalanceOptions:
        """The options with the files and keys that the run that wrote SOURCE has kept.

        Args:
            recipe: recipe of that run; empty if SOURCE is not the output of one.
        """
        include, drop_keys = (*self.include, *recipe.get("include", ())), self.drop_keys
        if drop_keys is None:
            drop_keys = recipe.get("drop_keys", Recipe().drop_keys)
        return replace(self, include=include, drop_keys=drop_keys)

    @property
    def device(self) -> str:
        """Always the CPU: no network runs."""
        return "cpu"

    @property
    def digest(self) -> str:
        """SHA-256 of the options' canonical JSON, in hexadecimal."""
        return hashlib.sha256(format_json(self.to_dict()).encode()).hexdigest()

    def shard_size_for(self, images: int) -> int:
        """Images per shard; a function of the dataset only, never of the number of workers."""
        if self.shard_size is None and not self.writes_images:
            return ROWS_A_SHARD
        return self.shard_size or shard_size_of(images)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        plain = {_KEYS.get(name, name): value for name, value in asdict(self).items()}
        plain["by"] = [list(group) for group in self.groupings]
        for name in ("splits", "include", "drop_keys"):
            plain[name] = list(getattr(self, name) or ())
        plain["bins"] = {
            name: {"names": list(bins.names), "edges": list(bins.edges)}
            for name, bins in self.bins.items()
        }
        plain["files"] = dict(self.files)
        return plain


def _require(valid: bool, message: str) -> None:
    if not valid:
        raise UsageError(message)
