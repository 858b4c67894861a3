"""Obfuscate the faces of an image dataset, balance its groups, record both.

Every command of ``curate`` is a function here, with the same defaults (but the device is
``cpu`` unless given, such as ``device="auto"``). By task:

==================  ==============================================================================
faces               blur, detect, preview, plan, replay; of one process of several: blur_shards,
                    detect_shards; of arrays: make_detector, obfuscate
copies              find_duplicates, propagate_boxes
people              start_review, export_review, report_review, redo_reviewed
detectors           evaluate
groups              audit, audit_labels, merge_audits, rebalance, rebalance_shards, suggest_splits
accuracy            measure_impact, evaluate_impact, train_impact, explain_impact
manifests           verify, iter_problems, load_manifest, diff_manifests, publish_manifest,
                    write_checksums
publishing          write_card, push, pull
==================  ==============================================================================

``help(curate.blur)`` explains one.

>>> import curate
>>> curate.blur("photos", "out")                                # doctest: +SKIP
<Summary of 'out': 128 written, 0 withheld, 231 faces hidden>
>>> curate.verify("out", source="photos").ok                    # doctest: +SKIP
True

Single images, as arrays:

>>> detector = curate.make_detector(curate.DetectorOptions())   # doctest: +SKIP
>>> faces = detector.detect(image)                              # doctest: +SKIP
>>> hidden = curate.obfuscate(image, [(40, 30, 90, 95)])        # doctest: +SKIP

Results print as a short line, show as HTML in a notebook, and give pandas tables with
``.to_frame()``. Errors are subclasses of `CurateError`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.balance.audit.run import AuditOptions as AuditOptions
    from curate.balance.audit.run import audit as audit
    from curate.balance.audit.run import merge_audits as merge_audits
    from curate.balance.correct.options import BalanceOptions as BalanceOptions
    from curate.balance.correct.run import rebalance as rebalance
    from curate.balance.correct.run import rebalance_shards as rebalance_shards
    from curate.balance.correct.source import BalanceInputs as BalanceInputs
    from curate.balance.labels.run import audit_labels as audit_labels
    from curate.balance.splits import SplitOptions as SplitOptions
    from curate.balance.splits import suggest_splits as suggest_splits
    from curate.core.errors import CurateError as CurateError
    from curate.core.faces import Detection as Detection
    from curate.core.faces import Face as Face
    from curate.core.geometry import Box as Box
    from curate.detectors import DetectorOptions as DetectorOptions
    from curate.detectors import make_detector as make_detector
    from curate.duplicates.propagate import propagate_boxes as propagate_boxes
    from curate.duplicates.run import SearchOptions as SearchOptions
    from curate.duplicates.run import find_duplicates as find_duplicates
    from curate.evaluation.run import EvaluationOptions as EvaluationOptions
    from curate.evaluation.run import evaluate as evaluate
    from curate.impact.evaluate.run import EvaluateOptions as EvaluateOptions
    from curate.impact.evaluate.run import evaluate_impact as evaluate_impact
    from curate.impact.explain.options import ExplainOptions as ExplainOptions
    from curate.impact.explain.run import explain_impact as explain_impact
    from curate.impact.predictions.run import PredictionOptions as PredictionOptions
    from curate.impact.predictions.run import measure_impact as measure_impact
    from curate.impact.train.options import TrainOptions as TrainOptions
    from curate.impact.train.run import train_impact as train_impact
    from curate.manifest.checksums import write_checksums as write_checksums
    from curate.manifest.diff import diff_manifests as diff_manifests
    from curate.manifest.publish import publish_manifest as publish_manifest
    from curate.manifest.show import load_manifest as load_manifest
    from curate.obfuscators.apply import obfuscate as obfuscate
    from curate.pipeline.blur import blur as blur
    from curate.pipeline.blur import blur_shards as blur_shards
    from curate.pipeline.detect import detect as detect
    from curate.pipeline.detect import detect_shards as detect_shards
    from curate.pipeline.estimate import Estimate as Estimate
    from curate.pipeline.output import ShardsSummary as ShardsSummary
    from curate.pipeline.output import Summary as Summary
    from curate.pipeline.plan import PlanOptions as PlanOptions
    from curate.pipeline.plan import plan as plan
    from curate.pipeline.preview import preview as preview
    from curate.pipeline.replay import replay as replay
    from curate.pipeline.session import Session as Session
    from curate.pipeline.verify import iter_problems as iter_problems
    from curate.pipeline.verify import verify as verify
    from curate.publishing.card.run import CardOptions as CardOptions
    from curate.publishing.card.run import write_card as write_card
    from curate.publishing.hub.prepare import PushOptions as PushOptions
    from curate.publishing.hub.pull import pull as pull
    from curate.publishing.hub.push import push as push
    from curate.recipe import Recipe as Recipe
    from curate.review.export import export_review as export_review
    from curate.review.export import redo_reviewed as redo_reviewed
    from curate.review.run import ReviewOptions as ReviewOptions
    from curate.review.run import start_review as start_review
    from curate.review.summary import report_review as report_review


__version__ = "0.1.0"

# A public name is a line here and one in TYPE_CHECKING above.
_TARGETS = {
    "AuditOptions": "curate.balance.audit.run:AuditOptions",
    "BalanceInputs": "curate.balance.correct.source:BalanceInputs",
    "BalanceOptions": "curate.balance.correct.options:BalanceOptions",
    "Box": "curate.core.geometry:Box",
    "CardOptions": "curate.publishing.card.run:CardOptions",
    "CurateError": "curate.core.errors:CurateError",
    "Detection": "curate.core.faces:Detection",
    "DetectorOptions": "curate.detectors:DetectorOptions",
    "Estimate": "curate.pipeline.estimate:Estimate",
    "EvaluateOptions": "curate.impact.evaluate.run:EvaluateOptions",
    "EvaluationOptions": "curate.evaluation.run:EvaluationOptions",
    "ExplainOptions": "curate.impact.explain.options:ExplainOptions",
    "Face": "curate.core.faces:Face",
    "PlanOptions": "curate.pipeline.plan:PlanOptions",
    "PredictionOptions": "curate.impact.predictions.run:PredictionOptions",
    "PushOptions": "curate.publishing.hub.prepare:PushOptions",
    "Recipe": "curate.recipe:Recipe",
    "ReviewOptions": "curate.review.run:ReviewOptions",
    "SearchOptions": "curate.duplicates.run:SearchOptions",
    "Session": "curate.pipeline.session:Session",
    "ShardsSummary": "curate.pipeline.output:ShardsSummary",
    "SplitOptions": "curate.balance.splits:SplitOptions",
    "Summary": "curate.pipeline.output:Summary",
    "TrainOptions": "curate.impact.train.options:TrainOptions",
    "audit": "curate.balance.audit.run:audit",
    "audit_labels": "curate.balance.labels.run:audit_labels",
    "blur": "curate.pipeline.blur:blur",
    "blur_shards": "curate.pipeline.blur:blur_shards",
    "detect": "curate.pipeline.detect:detect",
    "detect_shards": "curate.pipeline.detect:detect_shards",
    "diff_manifests": "curate.manifest.diff:diff_manifests",
    "evaluate": "curate.evaluation.run:evaluate",
    "evaluate_impact": "curate.impact.evaluate.run:evaluate_impact",
    "explain_impact": "curate.impact.explain.run:explain_impact",
    "export_review": "curate.review.export:export_review",
    "find_duplicates": "curate.duplicates.run:find_duplicates",
    "iter_problems": "curate.pipeline.verify:iter_problems",
    "load_manifest": "curate.manifest.show:load_manifest",
    "make_detector": "curate.detectors:make_detector",
    "measure_impact": "curate.impact.predictions.run:measure_impact",
    "merge_audits": "curate.balance.audit.run:merge_audits",
    "obfuscate": "curate.obfuscators.apply:obfuscate",
    "plan": "curate.pipeline.plan:plan",
    "preview": "curate.pipeline.preview:preview",
    "propagate_boxes": "curate.duplicates.propagate:propagate_boxes",
    "publish_manifest": "curate.manifest.publish:publish_manifest",
    "pull": "curate.publishing.hub.pull:pull",
    "push": "curate.publishing.hub.push:push",
    "rebalance": "curate.balance.correct.run:rebalance",
    "rebalance_shards": "curate.balance.correct.run:rebalance_shards",
    "redo_reviewed": "curate.review.export:redo_reviewed",
    "replay": "curate.pipeline.replay:replay",
    "report_review": "curate.review.summary:report_review",
    "start_review": "curate.review.run:start_review",
    "suggest_splits": "curate.balance.splits:suggest_splits",
    "train_impact": "curate.impact.train.run:train_impact",
    "verify": "curate.pipeline.verify:verify",
    "write_card": "curate.publishing.card.run:write_card",
    "write_checksums": "curate.manifest.checksums:write_checksums",
}

__all__ = list(_TARGETS)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import curate`` stays fast."""
    target = _TARGETS.get(name)
    if target is None:
        raise AttributeError(f"module 'curate' has no attribute {name!r}")
    module, _, attribute = target.partition(":")
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted([*__all__, "__version__"])
