from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

import curate
from curate import Recipe, Session
from curate.cli.main import group
from curate.core.errors import UsageError
from curate.layouts import open_source
from curate.pipeline.estimate import Estimate
from curate.pipeline.plan import PlanOptions, _measure
from curate.pipeline.session import Snapshot, Step
from curate.report.numbers import format_bytes, format_duration
from tests.conftest import ROOT
from tests.report.checks import check_page


@pytest.fixture(scope="module")
def estimate(photos: Path) -> Estimate:
    return curate.plan(photos, PlanOptions(sample=8, price=0.5), profile="fast", workers=4)


def test_a_sample_is_measured(estimate: Estimate, photos: Path) -> None:
    costs = estimate.costs
    assert costs.sampled == 8
    assert costs.core > 0
    assert costs.bytes_in > 1000
    assert sum(costs.stages.values()) == pytest.approx(costs.core, rel=0.6)
    sizes = [path.stat().st_size for path in photos.rglob("*.jpg")]
    assert costs.bytes_in <= max(sizes) + 2_000_000


def test_progress_reaches_the_number_of_images(photos: Path) -> None:
    recipe, session = Recipe(profile="fast"), Session(workers=1)
    source, steps = open_source(str(photos)), list[Step]()
    sample = list(islice(source.records(), 3))
    _measure(source, sample, 0.0, recipe, session, steps.append)
    assert [(step.done, step.total) for step in steps] == [(1, 3), (2, 3), (3, 3)]
    seen: list[Snapshot] = []
    curate.preview(photos, photos.parent / "absent", recipe, Session(workers=1, watch=seen.append))
    assert [each.images for each in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].images == seen[-1].total


def test_time_falls_with_workers_and_grows_with_images(estimate: Estimate) -> None:
    many = replace(estimate, images=10**6, shard_size=256)
    half, double = replace(many, workers=2), replace(many, workers=8)
    assert half.seconds()["images"] == pytest.approx(4 * double.seconds()["images"], rel=0.01)
    assert half.seconds()["listing"] == double.seconds()["listing"]
    larger = replace(many, images=10**8)
    assert larger.seconds()["images"] == pytest.approx(100 * many.seconds()["images"], rel=0.01)
    assert larger.storage["out"] == pytest.approx(100 * many.storage["out"])
    low, high = many.interval
    assert low < sum(many.seconds().values()) < high


def test_workers_beyond_the_shards_do_not_help(estimate: Estimate) -> None:
    few = replace(estimate, images=1000, shard_size=250, workers=4)
    more = replace(few, workers=400)
    assert more.seconds() == few.seconds()
    assert "Only 4 workers are busy" in "".join(more.assumptions)
    assert more.core_hours > 50 * few.core_hours


def test_cost_is_core_hours_times_the_price(estimate: Estimate) -> None:
    found = estimate.to_dict()
    assert found["cost"] == pytest.approx(found["core_hours"] * 0.5)
    assert replace(estimate, price=None).to_dict()["cost"] is None
    assert found["core_hours"] <= 4 * found["seconds"]["total"] / 3600
    assert found["core_hours"] >= found["seconds"]["total"] / 3600


def test_the_command_writes_its_report(photos: Path, tmp_path: Path) -> None:
    options = ["--profile", "fast", "--workers", "64", "--engine", "ray", "--price", "0.04"]
    options += ["--images", "1000000000", "--sample", "4", "-o", str(tmp_path / "plan.json")]
    options += ["--html", str(tmp_path / "plan.html")]
    done = CliRunner().invoke(group, ["plan", str(photos), *options])
    assert done.exit_code == 0, done.output
    assert "1,000,000,000 images" in done.output
    assert "- Ray takes 8 s to start." in done.output
    schema = json.loads((ROOT / "manifests/plan-1.schema.json").read_text())
    found = json.loads((tmp_path / "plan.json").read_text())
    jsonschema.validate(found, schema)
    assert found["shards"] == -(-(10**9) // 256)
    page = (tmp_path / "plan.html").read_text()
    assert "Assumptions" in page
    check_page(page, photos.name)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample": 1}, {"sample": 10**6}, {"images": 0}, {"images": 10**13}, {"price": -1.0},
        {"price": float("nan")}, {"price": float("inf")},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="cannot be"):
        PlanOptions(**wrong)  # type: ignore[arg-type]


def test_numbers_for_people() -> None:
    assert [format_duration(s) for s in (0, 0.0003)] == ["0 s", "under 0.01 s"]
    assert [format_duration(s) for s in (0.5, 89, 600, 7200, 864_000)] == [
        "0.5 s", "89 s", "10 min", "2 h", "10.0 days",
    ]  # fmt: skip
    assert [format_bytes(n) for n in (5, 1500, 2e9, 3e15)] == ["5 B", "1.5 kB", "2 GB", "3 PB"]
