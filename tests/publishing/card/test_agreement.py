"""A card states the figures of a report as the page of the command that made it does."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import curate
from curate.evaluation.measure import measure
from curate.evaluation.report import Evaluation
from curate.report.document import Report
from curate.review import sampling
from curate.review.report import describe_result
from tests.evaluation.scenes import RULES, simulate


@pytest.fixture
def out(publishable: Path, tmp_path: Path) -> Path:
    return shutil.copytree(publishable, tmp_path / "place") / "out"


def make_card(out: Path, report: Report, name: str) -> str:
    """The card of OUT with a report, without comments, on one line."""
    run = json.loads((out / "manifest/run.json").read_text())
    value = {**report.to_dict(), "manifest": {"records_sha256": run["records"]["sha256"]}}
    out.with_name(name).write_text(json.dumps(value))
    curate.write_card(out)
    text = re.sub(r"<!--.*?-->", "", (out / "README.md").read_text(), flags=re.DOTALL)
    return " ".join(text.split())


def page_text(report: Report) -> str:
    """The text of a report's page, without markup."""
    text = html.unescape(re.sub(r"<[^>]*>", " ", report.to_html()))
    return " ".join(text.replace("\u00a0", " ").split())


def iter_estimates(card: str) -> Iterator[str]:
    """Values with intervals of a card, as pages write them."""
    found = re.findall(r"\| (\S+) % \| 95 % interval (\S+ to \S+) % \|", card)
    return (f"{value} % ({interval})" for value, interval in found)


@pytest.mark.parametrize("recall", [{"I": 0.95, "VI": 0.8}, {"I": 1.0, "VI": 0.98}, {"I": 0.5}])
def test_of_a_detector(out: Path, recall: dict[str, float]) -> None:
    images = {"labeled": 60, "not_in_source": 0, "not_labeled": 0, "groups": None, "evaluated": 60,
              "by_detector": 0,
              "withheld": {"images": 0, "faces": 0, "reasons": {}}}  # fmt: skip
    facts = {
        "tool": {"name": "curate-dataset", "version": "0"}, "truth_sha256": "0" * 64,
        "source": {"images": 60, "sample": []}, "recipe": None, "detectors": [],
        "detections_sha256": None, "images": images,
    }  # fmt: skip
    report = Evaluation(measure(simulate(recall, 60), RULES, by=("tone",)), facts, ())
    estimates = list(iter_estimates(make_card(out, report, "evaluate.json")))
    text = page_text(report)
    assert len(estimates) >= 5
    assert [each for each in estimates if each not in text] == []


def test_of_an_audit(out: Path, tmp_path: Path) -> None:
    names = [path.name for path in sorted((out / "data").rglob("*.*"))]
    people = pd.DataFrame(
        {"file": names * 20, "gender": ["f"] * 60 + ["m"] * (20 * len(names) - 60)}
    )
    options = curate.AuditOptions(per="person")
    report = curate.audit(out / "data", by=["gender"], groups=people, options=options)
    card = make_card(out, report, "audit.json")
    estimates = list(iter_estimates(card))
    assert len(estimates) == 2
    assert [each for each in estimates if each not in page_text(report)] == []


def test_of_an_impact(out: Path, tmp_path: Path) -> None:
    random, rows = np.random.default_rng(0), {}
    for name in ("original", "obfuscated"):
        logits = random.normal(size=(400, 3))
        logits[np.arange(400), np.arange(400) % 3] += 1.5
        rows[name] = tmp_path / f"{name}.parquet"
        pd.DataFrame(
            {"id": [f"{n}.jpg" for n in range(400)], "label": np.arange(400) % 3,
             "logits": list(logits)}
        ).to_parquet(rows[name])  # fmt: skip
    report = curate.measure_impact(rows["original"], rows["obfuscated"])
    card = make_card(out, report, "impact.json")
    found = re.search(r"a difference of (\S+) points \(95 % interval (\S+ to \S+);", card)
    assert found
    assert f"{found[1]} points ({found[2]})" in report.to_text().replace("-", "−")


@pytest.mark.parametrize(("at_most", "population"), [(0.1, 60), (0.01, 5_000), (0.0004, 20_000)])
def test_of_a_sample(out: Path, at_most: float, population: int) -> None:
    names = [f"{n:06}.jpg" for n in range(population)]
    plan = sampling.plan_sample(
        sampling.Target(at_most=at_most), {"all": population}, [(name, "all") for name in names]
    )
    bound = sampling.summarize(plan, dict.fromkeys(plan.strata[0].drawn, False), {})
    records = json.loads((out / "manifest/run.json").read_text())["records"]["sha256"]
    report = {
        "version": 1, "review": "r", "manifest": {"records_sha256": records}, "bound": bound,
        "images": {"reviewed": 0, "sampled": bound["looked"], "queue": 0},
        "reviewers": [],
    }  # fmt: skip
    statement = describe_result(report)
    out.with_name("review.json").write_text(json.dumps({**report, "statement": statement}))
    curate.write_card(out)
    text = re.sub(r"<!--.*?-->", "", (out / "README.md").read_text(), flags=re.DOTALL)
    quoted = re.search(r"with (\S+) % confidence, at most (\S+) % of", " ".join(text.split()))
    assert quoted
    assert quoted[0] in statement
    assert float(quoted[2]) / 100 >= bound["upper_now"]
