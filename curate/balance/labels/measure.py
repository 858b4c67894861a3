"""Every figure of an audit of labels, from what people said of them and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from curate.balance.labels.agreement import Agreement, agree
from curate.balance.labels.judgements import QUESTIONS, Tally
from curate.balance.labels.rules import Decision, LabelRules, Verdict, decide


@dataclass(frozen=True, slots=True)
class LabelAudit:
    """What becomes of a vocabulary.

    Args:
        rules: what its labels were held against.
        tallies: the judgements of each label, in the vocabulary's order.
        verdicts: what becomes of each.
        agreement: how far annotators agree: on ``safety``, on ``unsafe``, which is the
            same with sensitive and offensive as one answer, and on ``imageability``.
    """

    rules: LabelRules
    tallies: Mapping[str, Tally]
    verdicts: Mapping[str, Verdict]
    agreement: Mapping[str, Agreement]

    def count(self, decision: Decision) -> int:
        """How many labels are decided so."""
        return sum(verdict.decision is decision for verdict in self.verdicts.values())

    def removed(self, label: str) -> bool | None:
        """Whether a label's images go; None if nobody has said what undecided means."""
        return self.verdicts[label].removed(self.rules)


def audit_tallies(tallies: Mapping[str, Tally], rules: LabelRules, seed: int = 0) -> LabelAudit:
    """Decide every label, and measure the agreement behind it.

    Safety is nominal for α: sensitive is no half of offensive. Imageability is ordinal: its
    ratings have an order, and no equal distances.

    Args:
        tallies: the judgements of each label; none for a label that nobody judged.
        rules: what to hold them against.
        seed: of the bootstrap.
    """
    return LabelAudit(
        rules=rules,
        tallies=tallies,
        verdicts={label: decide(tally, rules) for label, tally in tallies.items()},
        agreement=dict(_iter_agreement(tallies, rules, seed)),
    )


def _iter_agreement(
    tallies: Mapping[str, Tally], rules: LabelRules, seed: int
) -> Iterator[tuple[str, Agreement]]:
    if "safety" in rules.questions:
        counts = [tally.safety for tally in tallies.values()]
        yield "safety", agree(counts, "nominal", seed)
        either = [(tally.safety[0], tally.unsafe) for tally in tallies.values()]
        yield "unsafe", agree(either, "nominal", seed)
    if "imageability" in rules.questions:
        ratings = [tally.imageability for tally in tallies.values()]
        yield "imageability", agree(ratings, "ordinal", seed)


def asked(tallies: Mapping[str, Tally]) -> frozenset[str]:
    """The questions that anybody has answered."""
    return frozenset(
        question
        for question in QUESTIONS
        if any(sum(getattr(tally, question)) for tally in tallies.values())
    )
