"""The report of a review: JSON, page, and part of a manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

import curate
from curate.cli.main import group as cli
from curate.core.errors import UsageError
from curate.pipeline.session import Session
from curate.recipe import Recipe
from curate.report.page import render_page
from curate.review.report import format_bound, make_page
from curate.review.sampling import Target
from tests.conftest import ROOT
from tests.publishing.outs import write_answers
from tests.report.checks import check_page
from tests.review.conftest import Serve, Served

SCHEMA = json.loads((ROOT / "manifests" / "review-1.schema.json").read_text())
ADDED = {"state": "added", "origin": None, "xyxy": [70, 10, 90, 30]}


def finish(served: Served, reviewer: str = "", found: int = 0) -> None:
    """Decide every image; add a face to the first ``found`` ones."""
    count = served.ask("GET", "/api/status")[1]["images"]
    for number in range(1, count + 1):
        kept = [
            {"state": "kept", "origin": b["origin"]} for b in served.view(number, reviewer)["boxes"]
        ]
        more = [ADDED] if number <= found else []
        assert served.decide(number, [*kept, *more], reviewer)[0] == 200


def test_a_sample_states_its_bound_in_every_form(serve: Serve, tmp_path: Path) -> None:
    served = serve(sample=Target(at_most=0.5))
    finish(served)
    served.stop()  # type: ignore[attr-defined]
    report = curate.report_review(
        tmp_path / "faces.sample", tmp_path / "r.json", tmp_path / "r.html"
    )
    jsonschema.validate(report, SCHEMA)
    assert json.loads((tmp_path / "r.json").read_text()) == report
    assert report["bound"]["accepted"]
    assert report["bound"]["upper_now"] == served.state.bound["upper_now"]
    page = (tmp_path / "r.html").read_text()
    assert report["statement"] in page.replace("\u00a0", " ")
    check_page(page)
    assert "images of the sample looked at" in page
    assert "Hidden checks" not in page
    assert "of the 6 images show a face" in report["statement"]


def test_an_unfinished_sample_states_no_bound(serve: Serve, tmp_path: Path) -> None:
    served = serve(sample=Target(at_most=0.5))
    served.decide(1)
    served.stop()  # type: ignore[attr-defined]
    report = curate.report_review(tmp_path / "faces.sample")
    assert not report["bound"]["valid_now"]
    assert "no bound is stated yet" in report["statement"]


def test_a_review_without_a_sample_states_no_bound_at_all(serve: Serve, tmp_path: Path) -> None:
    served = serve()
    finish(served, found=2)
    served.stop()  # type: ignore[attr-defined]
    report = curate.report_review(tmp_path / "faces.review")
    jsonschema.validate(report, SCHEMA)
    assert report["bound"] is None
    assert report["boxes"] == {"kept": 6, "changed": 0, "added": 2, "rejected": 0}
    assert report["images"] == {"queue": 6, "reviewed": 6, "sampled": 0, "checks": 0}
    assert "nothing is stated about what is still missed" in report["statement"]


def test_hidden_checks_measure_the_reviewer(serve: Serve, tmp_path: Path) -> None:
    faces = [{"xyxy": [30, 20, 60, 50], "confidence": 0.95}]
    lines = [{"file": f"{n}.png", "faces": faces} for n in range(6)]
    (tmp_path / "faces.json").write_text(json.dumps(lines))
    served = serve(sample=Target(at_most=0.9, checks=2))
    count = served.ask("GET", "/api/status")[1]["images"]
    missed = 0
    for number in range(1, count + 1):
        known = served.view(number)
        assert "role" not in known, "nothing tells a check from the sample"
        assert "removed" not in known
        if known["boxes"]:
            served.decide(number)
        elif missed:
            face = {"state": "added", "origin": None, "xyxy": [31, 20, 60, 51]}
            served.decide(number, [face])
        else:
            served.decide(number, [])
            missed = 1
    served.stop()  # type: ignore[attr-defined]
    report = curate.report_review(tmp_path / "faces.sample")
    jsonschema.validate(report, SCHEMA)
    [reviewer] = report["bound"]["reviewers"]
    assert (reviewer["checks"], reviewer["found"]) == (2, 1)
    assert reviewer["sensitivity_lower"] < 0.5
    assert report["bound"]["found"] == 0
    exported = curate.export_review(tmp_path / "faces.sample", tmp_path / "e.parquet")
    assert exported.faces == 6, "a check takes no box away"


def test_a_reviewer_who_was_shown_no_check_leaves_the_bound_open(
    serve: Serve, tmp_path: Path
) -> None:
    faces = [{"xyxy": [30, 20, 60, 50], "confidence": 0.95}]
    lines = [{"file": f"{n}.png", "faces": faces} for n in range(6)]
    (tmp_path / "faces.json").write_text(json.dumps(lines))
    served = serve(sample=Target(at_most=0.9, checks=2))
    count = served.ask("GET", "/api/status")[1]["images"]
    bob = False
    for number in range(1, count + 1):
        if served.view(number)["boxes"]:
            served.decide(number, reviewer="" if bob else "bob")
            bob = True
        else:
            face = {"state": "added", "origin": None, "xyxy": [30, 20, 60, 50]}
            served.decide(number, [face])
    shown = served.ask("GET", "/api/status")[1]["bound"]
    served.stop()  # type: ignore[attr-defined]
    report = curate.report_review(tmp_path / "faces.sample", html=tmp_path / "r.html")
    jsonschema.validate(report, SCHEMA)
    page = (tmp_path / "r.html").read_text()
    check_page(page)
    assert "Hidden checks" in page
    assert "hidden checks answered" in page
    for bound in (shown, report["bound"]):
        checks = {each["reviewer"]: each["checks"] for each in bound["reviewers"]}
        assert checks == {"ada": 2, "bob": 0}
        assert bound["upper_now"] == 1
    assert {each["reviewer"]: each["images"] for each in report["reviewers"]}["bob"] == 1
    assert report["bound"]["stated_upper"] is None
    for text in (report["statement"], format_bound(report["bound"])):
        assert "100 %" not in text
        assert "1 of 2 reviewers decided none" in text
        assert "more --checks" in text
    page = render_page(make_page(report), "")
    assert "unknown" in page
    assert "at most 100" not in page


def test_a_reviewer_who_found_no_face_of_the_checks_leaves_the_bound_open() -> None:
    reviewers = [
        {"reviewer": "ada", "checks": 3, "found": 0, "sensitivity": 0.0, "sensitivity_lower": 0.0},
        {"reviewer": "bob", "checks": 0, "found": 0, "sensitivity": None, "sensitivity_lower": 0.0},
    ]
    bound = {"looked": 9, "planned": 9, "found": 1, "valid_now": True, "upper_now": 1.0}
    text = format_bound({**bound, "reviewers": reviewers})
    assert "1 of 2 reviewers decided none and 1 of 2 reviewers found no face in theirs" in text
    text = format_bound({**bound, "found": 9, "reviewers": []})
    assert "too many visible faces" in text


def test_blind_reviewers_are_compared(serve: Serve, tmp_path: Path) -> None:
    served = serve(blind=True)
    finish(served, "ada", found=3)
    finish(served, "bob", found=2)
    served.stop()  # type: ignore[attr-defined]
    report = curate.report_review(tmp_path / "faces.review")
    jsonschema.validate(report, SCHEMA)
    agreement = report["agreement"]
    assert (agreement["both"], agreement["only_first"], agreement["only_second"]) == (2, 1, 0)
    assert agreement["alpha"] == pytest.approx(0.69, abs=0.01)
    assert agreement["chapman"] == pytest.approx(3.0)
    titles = [section.title for section in make_page(report).sections]
    assert "Two blind reviewers" in titles


@pytest.fixture
def run(dataset: Path, tmp_path: Path) -> Path:
    session = Session(workers=1, faces=tmp_path / "faces.json")
    curate.blur(dataset, tmp_path / "out", Recipe(method="fill"), session)
    return tmp_path / "out"


def problems(out: Path) -> list[Any]:
    return list(curate.iter_problems(out, None, 1))


def test_the_report_becomes_part_of_the_manifest_without_names(
    serve: Serve, run: Path, tmp_path: Path
) -> None:
    served = serve(None, run=run, sample=Target(at_most=0.5))
    finish(served)
    served.stop()  # type: ignore[attr-defined]
    curate.report_review(tmp_path / "out.sample", attach=run)
    text = (run / "manifest" / "review.json").read_text()
    assert "ada" not in text
    assert json.loads(text)["reviewers"][0]["reviewer"] == "reviewer 1"
    jsonschema.validate(json.loads(text), SCHEMA)
    assert problems(run) == []
    write_answers(run)
    curate.write_card(run)
    card = " ".join((run / "README.md").read_text().split())
    assert "People looked at" in card
    assert "(`manifest/review.json`)" in card


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said.update(extra="x"),
        lambda said: said.update(statement="x" * 10_000),
        lambda said: said.update(manifest={"records_sha256": "0" * 64}),
        lambda said: said.clear(),
        lambda said: said.update(boxes=json.loads("[" * 300 + "]" * 300)),
        lambda said: said.update(boxes=[0] * 500_000),
    ],
)
def test_a_changed_report_in_a_manifest_is_a_problem(
    serve: Serve, run: Path, tmp_path: Path, change: Any
) -> None:
    served = serve(None, run=run)
    served.decide(1)
    served.stop()  # type: ignore[attr-defined]
    curate.report_review(tmp_path / "out.review", attach=run)
    path = run / "manifest" / "review.json"
    said = json.loads(path.read_text())
    change(said)
    path.write_text(json.dumps(said))
    found = {(problem.kind, problem.path) for problem in problems(run)}
    path_of_report = "manifest/review.json"  # by its own content, and by its digest
    assert found == {("manifest", path_of_report), ("changed", path_of_report)}


def test_a_review_of_other_boxes_is_not_attached(serve: Serve, run: Path, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps([{"file": "0.png", "faces": []}]))
    served = serve(faces=tmp_path / "other.json")
    served.stop()  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="is not about"):
        curate.report_review(tmp_path / "other.review", attach=run)
    served = serve()  # the boxes that OUT was made from
    served.decide(1)
    served.stop()  # type: ignore[attr-defined]
    curate.report_review(tmp_path / "faces.review", attach=run)
    assert problems(run) == []


def test_the_commands_print_what_they_did(serve: Serve, dataset: Path, tmp_path: Path) -> None:
    served = serve()
    finish(served)
    served.stop()  # type: ignore[attr-defined]
    call = CliRunner().invoke
    review = str(tmp_path / "faces.review")
    done = call(cli, ["review", "report", review])
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "review" in done.stderr
    done = call(cli, ["review", "report", review, "--json"])
    assert json.loads(done.stdout)["images"]["reviewed"] == 6
    done = call(cli, ["review", "export", review, "-o", str(tmp_path / "x.parquet"), "--json"])
    assert json.loads(done.stdout)["by_person"] == 6
    done = call(cli, ["review", "export", review, "-o", str(tmp_path / "x.parquet")])
    assert "Next: curate blur SOURCE OUT" in done.stderr
    done = call(cli, ["review", str(dataset), "--at-most", "1%"])
    assert isinstance(done.exception, UsageError)
    assert "--at-most is for --sample" in str(done.exception)
    done = call(cli, ["review", str(dataset), "--sample", "--at-most", "x"])
    assert "is not a share" in done.stderr
    done = call(cli, ["review"])
    assert "name SOURCE" in str(done.exception)
