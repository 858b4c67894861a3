"""Acceptance sampling: which images to look at, and the bound that the answers give.

A draw is by a seeded hash of the id, so that anyone can draw it again from the list of ids,
and drawing needs memory for the sample only.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from curate.core.errors import DataError, UsageError, describe_malformed
from curate.review import bounds
from curate.review.bounds import Looked

STRATA = ("none", "score", "group")
"""By what a sample is divided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a sample is to show.

    Args:
        at_most: share of images with a visible face that would be acceptable.
        confidence: of the bound, one-sided.
        allowed: images with a visible face that the size of the sample allows for.
        stratify: ``none``, ``score`` or ``group``.
        checks: hidden checks shown among the sample; 0 for none.
        early: whether the reviewer may stop before the whole sample is looked at; decided
            beforehand, since it costs a larger sample.
        seed: of the draw.

    Raises:
        UsageError: if a value is out of range.
    """

    at_most: float = 0.01
    confidence: float = 0.95
    allowed: int = 0
    stratify: str = "none"
    checks: int = 0
    early: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.at_most <= 1:
            raise UsageError(f"--at-most cannot be {self.at_most:g}; give a share such as 1%")
        if not 0.5 <= self.confidence < 1:
            raise UsageError(
                f"--confidence cannot be {self.confidence:g}; give a share such as 95%"
            )
        if self.stratify not in STRATA:
            raise UsageError(f"--stratify is one of: {', '.join(STRATA)}")
        if self.allowed < 0 or self.checks < 0:
            raise UsageError("--allowed and --checks are 0 or more")
        if self.allowed and self.stratify != "none":
            raise UsageError("--allowed is for a sample without strata; leave out --stratify")

    @property
    def bound_confidence(self) -> float:
        """Confidence of the bound alone: half of the error is for the reviewers' sensitivity."""
        return 1 - (1 - self.confidence) / 2 if self.checks else self.confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """A part of the images that would be published.

    Args:
        name: what its images have in common.
        population: its images.
        drawn: ids of the sample, in the order in which they are shown.
    """

    name: str
    population: int
    drawn: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A sample that was drawn, before anyone looks.

    Args:
        target: what it is to show.
        strata: its parts.
        checks: ids of hidden checks, each with the index of the face that is not shown.
    """

    target: Target
    strata: tuple[Stratum, ...]
    checks: tuple[tuple[str, int], ...] = ()

    @property
    def population(self) -> int:
        """Images that would be published."""
        return sum(stratum.population for stratum in self.strata)

    @property
    def planned(self) -> int:
        """Images of the sample, checks left aside."""
        return sum(len(stratum.drawn) for stratum in self.strata)

    def check(self) -> None:
        """Raise ValueError if an image is drawn twice or a stratum has fewer than are drawn."""
        names = [name for each in self.strata for name in each.drawn]
        names += [name for name, _ in self.checks]
        if len(set(names)) < len(names):
            raise ValueError("an image is drawn twice")
        if any(each.population < len(each.drawn) for each in self.strata):
            raise ValueError("a stratum has fewer images than are drawn from it")
        if any(index < 0 for _, index in self.checks):
            raise ValueError("a check has no face of that number")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "target": asdict(self.target),
            "strata": [{**asdict(each), "drawn": list(each.drawn)} for each in self.strata],
            "checks": [list(check) for check in self.checks],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        """Build a plan from plain values.

        Raises:
            DataError: if a key is missing, a value is of the wrong kind, or an image is drawn
                twice.
        """
        try:
            plan = cls(
                target=Target(**values["target"]),
                strata=tuple(
                    Stratum(
                        name=str(each["name"]),
                        population=int(each["population"]),
                        drawn=tuple(map(str, each["drawn"])),
                    )
                    for each in values["strata"]
                ),
                checks=tuple((str(name), int(index)) for name, index in values["checks"]),
            )
            plan.check()
            return plan
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"the sample's plan cannot be read: {describe_malformed(error)}"
            ) from None


def hash_of(seed: int, record_id: str) -> bytes:
    """The key by which images are drawn: SHA-256 of seed and id, 32 bytes."""
    text = f"{seed}\n{record_id}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def plan_sample(
    target: Target, sizes: Mapping[str, int], images: Iterable[tuple[str, str]]
) -> Plan:
    """Draw a sample.

    Args:
        target: what it is to show.
        sizes: images by stratum.
        images: every id with its stratum.

    Raises:
        UsageError: if there is no image.
    """
    total = sum(sizes.values())
    if total == 0:
        raise UsageError(
            "there is no image to sample: all are withheld, or the filter is too narrow"
        )
    names = sorted(sizes)
    if len(names) == 1:
        wanted: tuple[int, ...] = (
            bounds.sample_size(
                target.at_most, target.bound_confidence, total, target.allowed, target.early
            ),
        )
    else:
        counts = [sizes[name] for name in names]
        wanted = bounds.allocate(counts, target.at_most, target.bound_confidence, target.early)
    most = dict(zip(names, wanted, strict=True))
    heaps: dict[str, list[tuple[int, str]]] = {name: [] for name in names}
    for record_id, stratum in images:
        key = -int.from_bytes(hash_of(target.seed, record_id))
        heap = heaps[stratum]
        if len(heap) < most[stratum]:
            heapq.heappush(heap, (key, record_id))
        elif heap and key > heap[0][0]:
            heapq.heapreplace(heap, (key, record_id))
    strata = tuple(
        Stratum(
            name=name,
            population=sizes[name],
            drawn=tuple(record_id for _, record_id in sorted(heaps[name], reverse=True)),
        )
        for name in names
    )
    return Plan(target=target, strata=strata)


def summarize(
    plan: Plan, found: Mapping[str, bool], checks: Mapping[str, Mapping[str, bool]]
) -> dict[str, Any]:
    """The bound that the answers so far give, as plain values.

    Only the images before the first unanswered one of a stratum count, since an order that a
    reviewer chooses is no random order.

    Args:
        plan: the sample.
        found: by id, whether an image of the sample has a visible face.
        checks: by reviewer and id, whether the removed face of a check was found; a reviewer
            who was shown none has no measured sensitivity, so that no bound can be stated.

    Returns:
        ``upper_now`` is the current bound, which holds if ``valid_now``: always for a sample
        that may be stopped early, at its end for any other. ``upper_end`` is the bound at the
        end of the sample if nothing more is found; ``stated_upper`` is the bound that
        reports and cards state: the current one, rounded up to three digits, None where it does
        not hold or is 1.
    """
    target, confidence = plan.target, plan.target.bound_confidence
    expected = target.at_most / 2
    samples = [_count(stratum, found) for stratum in plan.strata]
    ends = [
        Looked(sample.found, len(stratum.drawn), stratum.population)
        for sample, stratum in zip(samples, plan.strata, strict=True)
    ]
    now, end = (
        bounds.stratified_upper(each, confidence, target.early, expected)
        for each in (samples, ends)
    )
    reviewers = _measure_reviewers(checks, target) if target.checks else []
    if target.checks:
        least = min((each["sensitivity_lower"] for each in reviewers), default=0.0)
        now, end = (bounds.divide_by_sensitivity(each, least) for each in (now, end))
    looked = sum(sample.looked for sample in samples)
    valid = target.early or looked == plan.planned
    return {
        "population": plan.population,
        "planned": plan.planned,
        "looked": looked,
        "found": sum(sample.found for sample in samples),
        "confidence": target.confidence,
        "at_most": target.at_most,
        "method": _name_method(plan),
        "upper_now": now,
        "valid_now": valid,
        "stated_upper": _round_up(now) if valid and now < 1 else None,
        "upper_end": end,
        "accepted": valid and now <= target.at_most,
        "strata": [
            {
                "name": stratum.name,
                "population": stratum.population,
                "planned": len(stratum.drawn),
                "looked": sample.looked,
                "found": sample.found,
                "upper": bounds.stratified_upper([sample], confidence, target.early, expected),
            }
            for stratum, sample in zip(plan.strata, samples, strict=True)
        ],
        "reviewers": reviewers,
    }


def _round_up(share: float) -> float:
    """A share with three digits, never below itself."""
    if share <= 0:
        return 0.0
    places = 2 - math.floor(math.log10(share))
    up = math.ceil(share * 10.0**places - 1e-9) / 10.0**places
    return min(1.0, round(up, places))


def _name_method(plan: Plan) -> str:
    parts = ["prior-posterior-ratio confidence sequence" if plan.target.early
             else "exact hypergeometric bound"]  # fmt: skip
    if len(plan.strata) > 1:
        parts.append(f"summed over {len(plan.strata)} strata at equal shares of the error")
    if plan.target.checks:
        parts.append("divided by the lower limit of the reviewers' sensitivity")
    return ", ".join(parts)


def _count(stratum: Stratum, found: Mapping[str, bool]) -> Looked:
    looked = hits = 0
    for record_id in stratum.drawn:
        if record_id not in found:
            break
        looked += 1
        hits += found[record_id]
    return Looked(hits, looked, stratum.population)


def _measure_reviewers(
    checks: Mapping[str, Mapping[str, bool]], target: Target
) -> list[dict[str, Any]]:
    """Each reviewer's sensitivity; half of the error is shared among them."""
    error = (1 - target.confidence) / 2 / max(1, len(checks))
    measured = []
    for reviewer, answers in sorted(checks.items()):
        hits, shown = sum(answers.values()), len(answers)
        measured.append(
            {
                "reviewer": reviewer,
                "checks": shown,
                "found": hits,
                "sensitivity": hits / shown if shown else None,
                "sensitivity_lower": bounds.sensitivity_lower(hits, shown, 1 - error, target.early),
            }
        )
    return measured


def order_sample(plan: Plan) -> list[str]:
    """Ids in the order in which they are shown.

    Each stratum in its own order, all strata at an even pace, and checks at random positions, so
    that a check cannot be distinguished from an image of the sample.
    """
    keyed = [
        (index / len(stratum.drawn), number, name)
        for number, stratum in enumerate(plan.strata)
        for index, name in enumerate(stratum.drawn)
    ]
    seed = plan.target.seed
    for name, _ in plan.checks:
        position = int.from_bytes(hash_of(seed, f"place of {name}")[:6]) / 2**48
        keyed.append((position, len(plan.strata), name))
    return [name for _, _, name in sorted(keyed)]


def agreement(pairs: Iterable[tuple[bool, bool]]) -> dict[str, Any]:
    """How two blind reviewers agree about which images have a visible face.

    Krippendorff's alpha for nominal data of two coders without gaps (*Content Analysis*, 2004,
    chapter 11), and Chapman's estimate of how many there are (Chapman, *Univ. of California
    Publications in Statistics* 1, 1951). The estimate assumes that the two find each face
    independently; faces that are hard for one are hard for the other, so that it is a lower
    bound of the number.

    Args:
        pairs: for each image that both looked at, whether either found one.

    Returns:
        Counts, ``alpha`` (None where all answers are alike), ``chapman`` and its standard error.
    """
    counts = Counter(pairs)
    both, first, second = counts[True, True], counts[True, False], counts[False, True]
    n = counts.total()
    ones, values = 2 * both + first + second, 2 * n
    zeros = values - ones
    alpha = None
    if ones and zeros:
        observed = (first + second) / n
        expected = 2 * ones * zeros / (values * (values - 1))
        alpha = 1 - observed / expected
    n1, n2 = both + first, both + second
    chapman = (n1 + 1) * (n2 + 1) / (both + 1) - 1
    variance = (n1 + 1) * (n2 + 1) * first * second / ((both + 1) ** 2 * (both + 2))
    return {
        "images": n,
        "both": both,
        "only_first": first,
        "only_second": second,
        "alpha": alpha,
        "chapman": chapman if n else None,
        "chapman_se": math.sqrt(variance) if n else None,
        "chapman_is": "a lower bound: faces that one misses are likelier missed by the other",
    }
