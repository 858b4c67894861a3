from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import curate
from curate.cli.main import group
from curate.core.errors import CurateError, DataError, MissingExtraError, UsageError
from curate.manifest.identity import ImageSample
from curate.publishing.card.evidence import SIGNS
from curate.publishing.card.figures import find_mismatches
from curate.publishing.card.governance import make_rows
from curate.publishing.card.render import COMMANDS
from curate.publishing.card.run import iter_card_problems
from curate.publishing.croissant.build import NEURIPS_2026
from tests.publishing.outs import ANSWERS, answer, make_out, write_answers


@pytest.fixture
def out(publishable: Path, tmp_path: Path) -> Path:
    return shutil.copytree(publishable, tmp_path / "place") / "out"


def card(out: Path, **options: Any) -> str:
    curate.write_card(out, curate.CardOptions(**options))
    return (out / "README.md").read_text()


def shown(text: str) -> str:
    """A card without its comments."""
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)


EVALUATE = {
    "version": 1,
    "truth_sha256": "0" * 64,
    "recipe": None,
    "images": {"evaluated": 120},
    "source": {"images": 120, "sample": ["0" * 16]},
    "faces": {"counted": 345},
    "overall": {
        "hidden": {"value": 0.951, "interval": [0.91, 0.98]},
        "recall_30": {"value": 0.93, "interval": [0.9, 0.95]},
    },
    "face_free": {"with_box": {"value": 0.02, "interval": [0.01, 0.04]}},
    "by_height": [
        {
            "name": "16–32",
            "faces": 120,
            "measures": {"hidden": {"value": 0.875, "interval": [0.8, 0.9]}},
        },
        {
            "name": "32 and more",
            "faces": 9,
            "measures": {"hidden": {"value": 1.0, "interval": [0.7, 1.0]}},
        },
    ],
    "by": {
        "age": {
            "groups": [
                {
                    "name": name,
                    "faces": faces,
                    "measures": {"hidden": {"value": value, "interval": [0.1, 0.99]}},
                }
                for name, faces, value in (("young", 100, 0.96), ("old", 40, 0.9), ("x", 4, 0.25))
            ]
        }
    },
}
AUDIT = {
    "version": 1,
    "census": {},
    "records": 7,
    "counted": 500,
    "reading": {"per": "person"},
    "attributes": {
        "gender": {
            "groups": {
                "f|x": {"count": 300, "share": 0.6, "ci95": [0.55, 0.64]},
                "m": {"count": 196, "share": 0.392, "ci95": [0.35, 0.43]},
                "rare": {"count": 4, "share": 0.008, "ci95": [0.0, 0.02]},
            }
        }
    },
}


def impact(records_sha256: str) -> dict[str, Any]:
    return {
        "version": 1,
        "pairs": 600,
        "mcnemar": {},
        "manifest": {"records_sha256": records_sha256},
        "top1": {"original": 0.757, "obfuscated": 0.737, "difference": -0.02,
                 "ci95": [-0.032, -0.0079]},
    }  # fmt: skip


def of_run(out: Path, report: dict[str, Any]) -> dict[str, Any]:
    """A report that names the records of OUT."""
    run = json.loads((out / "manifest/run.json").read_text())
    return {**report, "manifest": {"records_sha256": run["records"]["sha256"]}}


def save(out: Path, name: str, value: Any) -> Path:
    path = out.with_name(name)
    path.write_text(json.dumps(value))
    return path


def test_what_was_not_measured_says_so_with_the_command(out: Path) -> None:
    text = card(out)
    for command in (
        "curate evaluate SOURCE",
        "curate audit OUT",
        "curate impact evaluate SOURCE",
        "curate review SOURCE",
        "curate card OUT --report attack.json",
        "curate impact train SOURCE",
    ):
        assert f"`{command}" in text
    assert text.count("ot measured") >= 4


def test_every_number_from_the_run_has_a_pointer(out: Path) -> None:
    text = card(out)
    assert "| Images | <!-- figure: manifest/run.json#/counts/written as count -->7<" in text
    assert "| Withheld: truncated | " in text
    body = text.split("---\n", 2)[2]
    bare = re.sub(r"<!-- figure: .*?<!-- /figure -->", "", body, flags=re.DOTALL)
    bare = bare[: bare.index("## Limits")]
    allowed = {"1.0.0", "2026", "03", "01", "4.0", "1", "0.3", "0.5"}
    assert set(re.findall(r"\d+(?:\.\d+)*", bare)) <= allowed


def test_reports_beside_out_give_figures_with_intervals(out: Path) -> None:
    run = json.loads((out / "manifest/run.json").read_text())
    save(out, "evaluate.json", EVALUATE)
    save(out, "audit.json", AUDIT)
    save(out, "impact.json", impact(run["records"]["sha256"]))
    text = shown(card(out))
    assert "| Faces hidden | 95.1 % | 95 % interval 91.0 to 98.0 % |" in text
    assert "| Recall at IoU 0.3 | 93.0 % | 95 % interval 90.0 to 95.0 % |" in text
    assert "| Faces hidden, 16–32 px high | 87.5 % | 95 % interval 80.0 to 90.0 % |" in text
    assert "| Faces hidden, 32 and more px high | not shown |  |" in text
    assert "| Faces hidden, age: young | 96.0 % | 95 % interval 10.0 to 99.0 % |" in text
    assert "| Faces hidden, age: x | not shown |  |" in text
    assert "−2.00 points" in text
    assert "95 % interval −3.20 to −0.79" in text
    assert "| gender | f\\|x | 300 | 60.0 % | 95 % interval 55.0 to 64.0 % |" in text
    report = curate.write_card(out, curate.CardOptions(check=True))
    assert report.problems == ()


REVIEW = {
    "version": 1, "review": "r", "statement": "s", "manifest": {"records_sha256": None},
    "source": {"faces_sha256": None},
    "images": {"queue": 0, "reviewed": 0, "sampled": 299}, "reviewers": [],
    "bound": {
        "looked": 299, "planned": 299, "found": 0, "confidence": 0.95, "population": 5000,
        "stated_upper": 0.00997, "reviewers": [],
        "assumption": ", if the reviewers see every face, which no hidden check measured",
    },
}  # fmt: skip


def review(queue: int = 0, reviewed: int = 0, **bound: Any) -> dict[str, Any]:
    """A review's report: of a sample with these values, or of listed images."""
    return {
        **REVIEW,
        "images": {"queue": queue, "reviewed": reviewed, "sampled": 0},
        "bound": {**REVIEW["bound"], **bound} if bound else None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (
            REVIEW,
            "People looked at 299 images, drawn at random from 5,000, and saw a face in 0: with "
            "95 % confidence, at most 0.997 % of the images show one, if the reviewers see every "
            "face, which no hidden check measured (`review.json`).",
        ),
        (
            review(looked=0, stated_upper=None),
            "Not reviewed by people: a review was begun, in which 0 of 299 images were looked at "
            "(`review.json`).",
        ),
        (
            review(looked=0, stated_upper=1.0),
            "Not reviewed by people: a review was begun, in which 0 of 299 images were looked at "
            "(`review.json`).",
        ),
        (
            review(looked=12, found=1, stated_upper=None),
            "People looked at 12 of 299 images, drawn at random from 5,000, and saw a face in 1. "
            "No bound on what is left can be stated from them (`review.json`).",
        ),
        (
            review(queue=40, reviewed=3),
            "People looked at 3 of 40 images that were listed for review. No sample was drawn, so "
            "that nothing is stated about what is left (`review.json`).",
        ),
        (
            review(queue=40),
            "Not reviewed by people: a review was begun, in which 0 of 40 images were looked at "
            "(`review.json`).",
        ),
    ],
)
def test_what_a_card_says_of_a_review(out: Path, report: dict[str, Any], sentence: str) -> None:
    save(out, "review.json", of_run(out, report))
    text = card(out)
    part = text[text.index("## How many faces") : text.index("## Who is represented")]
    assert sentence in " ".join(shown(part).split())
    assert part.count("eviewed by people") == sentence.count("eviewed by people")
    bare = re.sub(r"<!-- figure: .*?<!-- /figure -->", "", part, flags=re.DOTALL)
    assert not re.search(r"\d", bare.replace("attack-1.schema.json", ""))


@pytest.mark.parametrize("change", [{"bound": {"looked": 3}}, {"images": {}, "bound": None}])
def test_a_damaged_review_is_left_out(out: Path, change: dict[str, Any]) -> None:
    path = save(out, "review.json", of_run(out, {**REVIEW, **change}))
    assert "Not reviewed by people. To review it" in card(out)
    with pytest.raises(DataError, match="is damaged"):
        card(out, reports=(path,))


def test_reports_that_count_nothing_are_left_out(out: Path) -> None:
    run = json.loads((out / "manifest/run.json").read_text())
    save(out, "evaluate.json", {**EVALUATE, "faces": {"counted": 0}})
    save(out, "audit.json", {**AUDIT, "counted": 0})
    save(out, "impact.json", {**impact(run["records"]["sha256"]), "pairs": 0})
    report = curate.write_card(out)
    assert report.notes == (
        "audit.json is left out: it has figures of no record with a group",
        "evaluate.json is left out: it has figures of no labeled face",
        "impact.json is left out: it has figures of no pair of images",
    )
    assert (out / "README.md").read_text().count("Not measured. To measure it") == 2


def test_rows_without_data_are_left_out(out: Path) -> None:
    empty = {
        "name": "8–16",
        "faces": 0,
        "measures": {"hidden": {"value": None, "interval": [0, 1]}},
    }
    free = {"with_box": {"value": None, "interval": [0, 1]}}
    heights = [empty, *EVALUATE["by_height"]]
    save(out, "evaluate.json", {**EVALUATE, "face_free": free, "by_height": heights})
    text = shown(card(out))
    assert "not defined" not in text
    assert "8–16" not in text
    assert "| Recall at IoU 0.3 |" in text


def attack(out: Path, **changes: Any) -> dict[str, Any]:
    run = json.loads((out / "manifest/run.json").read_text())
    one = {
        "name": "dlib | ResNet", "kind": "re-identification", "faces": 480, "success": 0.021,
        "ci95": [0.011, 0.039], "original": 0.97, "chance": None,
    }  # fmt: skip
    return {
        "version": 1,
        "manifest": {"records_sha256": run["records"]["sha256"]},
        "attacks": [{**one, **changes}],
    }


def test_attacks_are_rows_with_intervals(out: Path) -> None:
    save(out, "attack.json", attack(out))
    assert (
        "| dlib \\| ResNet | re-identification | 480 | 2.1 % | 95 % interval 1.1 to 3.9 % "
        "| 97.0 % | not defined |"
    ) in shown(card(out))
    assert curate.write_card(out, curate.CardOptions(check=True)).problems == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"success": 1.1},
        {"kind": "guess"},
        {"faces": 0},
        {"ci95": [0.1]},
        {"note": "x"},
        {"name": 5},
    ],
)
def test_a_report_of_attacks_that_does_not_fit_its_schema_is_refused(
    out: Path, changes: dict[str, Any]
) -> None:
    path = save(out, "attack.json", attack(out, **changes))
    with pytest.raises(DataError, match=r"does not fit manifests/attack-1.*: attacks\.0"):
        card(out, reports=(path,))
    assert "were not measured" in card(out)


def test_every_command_that_a_card_names_exists() -> None:
    for line in COMMANDS.values():
        words = line.split()[1:]
        names = words[:2] if words[0] == "impact" else words[:1]
        assert CliRunner().invoke(group, [*names, "--help"]).exit_code == 0, line


def test_figures_stay_inside_their_paragraphs_and_cells(out: Path) -> None:
    save(out, "evaluate.json", EVALUATE)
    save(out, "audit.json", AUDIT)
    text = card(out)
    assert "\n<!-- figure" not in text
    rows = [line for line in text.splitlines() if line.startswith("| gender |")]
    assert [len(re.split(r"(?<!\\)\|", row)) for row in rows] == [7, 7, 7]


def test_small_groups_cannot_be_counted_out(out: Path) -> None:
    """Neither by their own figures nor by subtraction from the total."""
    save(out, "audit.json", AUDIT)
    text = shown(card(out))
    assert "| gender | rare | not shown | not shown |  |" in text
    assert "| gender | m | not shown | not shown |  |" in text
    assert "| gender | f\\|x | 300 | 60.0 % |" in text
    assert "0.8 %" not in text


def test_check_fails_where_evidence_or_card_has_changed(out: Path) -> None:
    path = save(out, "evaluate.json", EVALUATE)
    card(out)
    changed = json.loads(json.dumps(EVALUATE))
    changed["overall"]["hidden"]["value"] = 0.94
    path.write_text(json.dumps(changed))
    report = curate.write_card(out, curate.CardOptions(check=True))
    reasons = [problem.reason for problem in report.problems]
    assert "evaluate.json#/overall/hidden/value is 94.0 %, and the card says 95.1 %" in reasons
    path.unlink()
    report = curate.write_card(out, curate.CardOptions(check=True))
    assert any("evaluate.json is not there" in problem.reason for problem in report.problems)


def test_a_sentence_added_outside_a_kept_section_is_noticed(out: Path) -> None:
    text = card(out)
    (out / "README.md").write_text(text.replace("## Limits\n", "## Limits\n\nNobody is left.\n"))
    [problem] = curate.write_card(out, curate.CardOptions(check=True)).problems
    assert "Nobody is left." in problem.reason


def test_a_report_of_another_out_is_not_used(out: Path) -> None:
    path = save(out, "impact.json", impact("f" * 64))
    report = curate.write_card(out)
    assert "impact.json is left out: it was made from another OUT" in report.notes[0]
    assert "Top-1" not in (out / "README.md").read_text()
    with pytest.raises(DataError, match="was made from another OUT"):
        card(out, reports=(path,))


def digests(folder: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*.bmp"))]


@pytest.mark.parametrize(
    ("own", "others", "stated"),
    [
        (6, 0, "Measured on 345 labeled faces in 120 images of this dataset's source (`ev"),
        (3, 1, "Measured on 345 labeled faces in 120 images, of which 75.0 % are of this dataset's "
               "source and the others are other photos (`ev"),
        (0, 2, "Measured on other photos: 345 labeled faces in 120 images, of which 0 are of this "
               "dataset's source (`ev"),
        (0, 0, "345 labeled faces in 120 images, which were not compared with those of this dat"),
    ],
)  # fmt: skip
def test_a_card_states_of_which_photos_a_detector_was_evaluated(
    out: Path, own: int, others: int, stated: str
) -> None:
    sample = ImageSample()
    for digest in (
        *digests(out.parent / "photos")[:own],
        *("f" * 63 + str(n) for n in range(others)),
    ):
        sample.add_digest(digest)
    save(out, "evaluate.json", {**EVALUATE, "source": sample.to_dict()})
    assert stated in " ".join(shown(card(out)).split())
    assert curate.write_card(out, curate.CardOptions(check=True)).problems == ()


@pytest.mark.parametrize("fields", [{}, {"faces_sha256": "a" * 64}])
def test_reports_that_do_not_name_this_out_are_not_used(out: Path, fields: dict[str, str]) -> None:
    reports = {
        "impact": {**impact("0" * 64), "manifest": None},
        "train": {"version": 1, "cells": {}, "gaps": {}, "runs": []},
        "review": {**REVIEW, "source": {"faces_sha256": None, **fields}},
        "evaluate": {name: value for name, value in EVALUATE.items() if name != "source"},
    }
    for name, report in reports.items():
        save(out, f"{name}.json", report)
    notes = curate.write_card(out).notes
    assert [note.partition(" is left out")[0] for note in notes] == [
        "evaluate.json", "impact.json", "review.json", "train.json",
    ]  # fmt: skip
    assert "does not name its images" in notes[0]
    assert "does not name its OUT" in notes[1]
    assert "of faces that OUT was not made with" in notes[2]


def test_a_review_of_the_faces_that_a_run_was_given_is_used(out: Path) -> None:
    run = json.loads((out / "manifest/run.json").read_text())
    faces = run["recipe"]["faces_sha256"]
    report = {**review(queue=40, reviewed=3), "source": {"faces_sha256": faces}}
    save(out, "review.json", report)
    assert "images that were listed for review" in " ".join(shown(card(out)).split())
    states = {"reviewed": 3, "sampled": 0, "not looked at": 37}
    entry = {"id": "r", "task": "boxes", "blind": False, "reviewers": 1,
             "journal_sha256": "7" * 64, "states": states}  # fmt: skip
    given = {"recipe": {"profile": "fast"}, "reviews": [entry]}
    (out / "manifest/run.json").write_text(json.dumps({**run, "given_faces": given}))
    save(out, "review.json", {**report, "source": {"faces_sha256": "b" * 64}})
    assert "images that were listed for review" in " ".join(shown(card(out)).split())
    save(out, "review.json", {**report, "review": "x", "source": {"faces_sha256": "b" * 64}})
    assert "Not reviewed by people. To review it" in card(out)


def test_an_audit_is_of_the_names_of_out(out: Path, tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    names = [path.relative_to(out / "data") for path in sorted((out / "data").rglob("*.*"))]
    people.write_text("file,tone\n" + "".join(f"{name},I\n" for name in names))
    curate.audit(out / "data", by=["tone"], groups=people).save(out.with_name("audit.json"))
    assert "As published (`audit.json`" in card(out)
    (tmp_path / "other").mkdir()
    for number, name in enumerate(names):
        shutil.copy(out / "data" / name, tmp_path / "other" / f"{number}{name.suffix}")
    rows = "".join(f"{number}{name.suffix},I\n" for number, name in enumerate(names))
    people.write_text("file,tone\n" + rows)
    for source in (tmp_path / "other", None):
        curate.audit(source, by=["tone"], groups=people).save(out.with_name("audit.json"))
        notes = curate.write_card(out).notes
        assert notes[0].startswith("audit.json is left out: it is of ")
        assert ("other names" if source else "a table alone") in notes[0]


def test_an_audit_counts_the_images_of_out_or_of_source(out: Path) -> None:
    save(out, "audit.json", AUDIT)
    save(out, "source.json", {**AUDIT, "records": 8})
    text = shown(card(out))
    assert "As published (`audit.json`, 500 people):" in text
    assert "In the source (`source.json`, 500 people):" in text
    path = save(out, "source.json", {**AUDIT, "records": 9})
    report = curate.write_card(out)
    assert "source.json is left out: it is of 9 images, and OUT has 7" in report.notes[0]
    with pytest.raises(DataError, match="is of 9 images, and OUT has 7; audit OUT/data"):
        card(out, reports=(path,))
    save(out, "source.json", {**AUDIT, "records": 9, "noise": {"epsilon": 1.0}})
    with pytest.raises(UsageError, match="are both reports of audit"):
        card(out)


def test_a_report_of_another_detector_is_not_used(out: Path) -> None:
    run = json.loads((out / "manifest/run.json").read_text())
    recipe = {**run["recipe"], "profile": "thorough"}
    path = save(out, "evaluate.json", {**EVALUATE, "recipe": recipe})
    with pytest.raises(DataError, match="does not record which one found its faces"):
        card(out, reports=(path,))
    given = {"recipe": {"confidence": None, "profile": "fast"}, "reviews": []}
    (out / "manifest/run.json").write_text(json.dumps({**run, "given_faces": given}))
    with pytest.raises(DataError, match=r"another detector than OUT \(profile differ\)"):
        card(out, reports=(path,))


def test_given_faces_are_stated_with_their_detector_and_their_review(out: Path) -> None:
    assert "which does not record a detector" in shown(card(out))
    model = {
        "name": "mtcnn",
        "package": "facenet-pytorch",
        "version": "9.8",
        "backend": "torch 2.1",
    }
    review = {
        "id": "secret-id", "task": "faces", "blind": False, "reviewers": 2,
        "journal_sha256": "7" * 64, "states": {"reviewed": 5, "sampled": 1, "not looked at": 0},
    }  # fmt: skip
    run = json.loads((out / "manifest/run.json").read_text())
    run["detectors"] = [{**model, "weights_sha256": {"pnet.pt": "5" * 64}}]
    run["given_faces"] = {"recipe": {"profile": "thorough"}, "reviews": [review]}
    (out / "manifest/run.json").write_text(json.dumps(run))
    text = shown(card(out))
    for stated in ("records the models below", "mtcnn", "9.8", "5 images reviewed", "thorough"):
        assert stated in text
    run["detectors"] = [{**model, "name": "John Smith", "weights_sha256": {"John": "5" * 64}}]
    (out / "manifest/run.json").write_text(json.dumps(run))
    assert "John" not in shown(card(out)) + (out / "croissant.json").read_text()
    run["detectors"] = [{**model, "weights_sha256": {"pnet.pt": "5" * 64}}]
    (out / "manifest/run.json").write_text(json.dumps(run))
    card(out)
    croissant = (out / "croissant.json").read_text()
    assert "given by a file after people looked at 6 of 6 images" in croissant
    assert "mtcnn (facenet-pytorch 9.8)" in croissant
    assert "7" * 64 not in croissant + (out / "README.md").read_text()
    assert curate.write_card(out, curate.CardOptions(check=True)).problems == ()
    review["states"] = {"reviewed": 0, "sampled": 0, "not looked at": 6}
    (out / "manifest/run.json").write_text(json.dumps(run))
    assert "| Review 1 of these faces, in which nobody looked at an image |" in card(out)
    assert "looked at" not in (out / "croissant.json").read_text()


@pytest.mark.parametrize(
    "report",
    [
        {**AUDIT, "attributes": [1]},
        {**AUDIT, "attributes": {"gender": {"groups": {"f": 1}}}},
        {**EVALUATE, "by_height": [5]},
        {**EVALUATE, "by": {"age": {}}},
        {**EVALUATE, "by": [1]},
    ],
)
def test_a_damaged_report_is_named_and_left_out(out: Path, report: dict[str, Any]) -> None:
    path = save(out, "damaged.json", report)
    assert "damaged.json is left out: it is damaged" in curate.write_card(out).notes[0]
    with pytest.raises(DataError, match=r"damaged\.json is damaged: its groups"):
        card(out, reports=(path,))


def test_the_thresholds_of_the_detector_are_shown(out: Path, tmp_path: Path) -> None:
    assert "Minimum" not in shown(card(out))  # the faces were given
    curate.blur(out.parent / "photos", tmp_path / "found", curate.Recipe(profile="fast"))
    write_answers(tmp_path / "found")
    text = shown(card(tmp_path / "found"))
    assert "| Minimum probability of a face, in an image with a sure one | 0.05 |" in text
    assert "| Minimum probability of a face, in other images | 0.5 |" in text


def test_two_reports_of_one_kind_must_be_chosen_between(out: Path) -> None:
    save(out, "a.json", AUDIT)
    chosen = save(out, "b.json", AUDIT)
    with pytest.raises(UsageError, match=r"a\.json and b\.json are both reports of audit"):
        card(out)
    assert "(`b.json`" in card(out, reports=(chosen,))


def test_files_that_are_no_report_are_refused_when_named(out: Path) -> None:
    with pytest.raises(DataError, match="is not a report of curate"):
        card(out, reports=(save(out, "x.json", {"a": 1}),))
    path = out.with_name("y.json")
    path.write_text("{")
    with pytest.raises(DataError, match=r"y\.json is not valid JSON"):
        card(out, reports=(path,))


def test_answers_cannot_break_out_of_the_card(out: Path) -> None:
    evil = '"</table><b>alert(1)</b> | a <!-- /figure --> `x` [b](c)"'
    write_answers(out, title=evil, description=evil, source=evil, contact=evil)
    address = '"https://x.org/--><b>|`<!--keep:"'
    text = answer((out / "card.toml").read_text(), source_url=address)
    (out / "card.toml").write_text(text.replace(ANSWERS["url"], address))
    text = card(out)
    body = text.split("---\n", 2)[2]
    fenced = re.compile(r"^```bibtex\n.*?^```$", re.DOTALL | re.MULTILINE)
    assert len(fenced.findall(body)) == 1
    body = fenced.sub("", body)
    assert "<b>" not in body
    assert body.count("<!-- /figure -->") == body.count("<!-- figure: ")


@pytest.mark.parametrize(
    "text",
    [
        "![](data:image/png;base64,AAAA)",
        '<svg width="9"><rect/></svg>',
        "A" * 400,
        "\n".join(["abcdefgh" * 9] * 8),
    ],
)
def test_nothing_that_could_be_a_picture_enters_a_card(out: Path, text: str) -> None:
    whole = card(out)
    mark = "<!-- keep: notes -->\n"
    (out / "README.md").write_text(whole.replace(mark, f"{mark}{text}\n"))
    with pytest.raises(DataError, match="which could be a picture"):
        card(out)


@pytest.mark.parametrize("package", ["jsonschema", "mlcroissant"])
def test_a_missing_package_names_the_pip_line(
    out: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'curate-dataset\[publish\]'"):
        card(out)


def test_kept_sections_survive_even_where_a_template_has_no_place(
    out: Path, tmp_path: Path
) -> None:
    text = card(out)
    own = "<!-- keep: notes -->\nBy hand: 1 | 2 <b>.\n<!-- /keep: notes -->"
    text = text.replace("<!-- keep: notes -->\n<!-- /keep: notes -->", own)
    (out / "README.md").write_text(text)
    assert own in card(out)
    template = tmp_path / "t.md.j2"
    template.write_text(
        '# {{ title }}\n{{ figure("manifest/run.json#/counts/images", "count") }}\n'
    )
    short = card(out, template=template)
    assert short.split("---\n", 2)[2].startswith("\n# Street scenes\n")
    assert own in short


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ nothing }}", "nothing"),
        ("{% if %}", "line 1"),
        ('{{ figure("manifest/run.json#/x", "count") }}', "has nothing at /x"),
        ("{{ ''.__class__.__mro__ }}", "unsafe|not.*defined|security"),
        ("{{ 1 // 0 }}", "by zero"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{{ 10.0 ** 999 }}", "Result too large|out of range"),
        ("{{ range(10 ** 9) | list }}", "range"),
        ("{{ '%1000000000d' % 1 }}", "memory|more than 4 MB"),
        ("{{ 'x' * 10 ** 10 }}", "memory"),
        ("{{ 'x'.ljust(5000000, 'y') }}", "more than 4 MB"),
        (
            "{% set n = namespace(t='x') %}{% for i in range(99) %}{% set n.t = n.t ~ n.t %}"
            "{% endfor %}",
            "memory",
        ),
    ],
)
def test_a_template_that_fails_is_one_line(
    out: Path, tmp_path: Path, text: str, message: str
) -> None:
    template = tmp_path / "t.md.j2"
    template.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        card(out, template=template)
    assert str(caught.value).startswith(f"--template {template}")


AT = ("attributes", "gender", "groups", "m")


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        ((*AT, "count"), 99_999, "#/attributes/gender/groups/m/share is not its count"),
        ((*AT, "count"), -1, "m/count is not a count"),
        ((*AT, "count"), 196.0, "m/count is not a count"),
        ((*AT, "share"), 7.5, "m/share is not a share"),
        ((*AT, "share"), "<script>", "m/share is not a share"),
        ((*AT, "ci95"), ["<script>", None], "m/share is not two numbers"),
        ((*AT, "ci95"), [0.4, 0.5], "m/share is not in its interval"),
        ((*AT, "ci95"), [0.3, 1.5], "not within 0 and 1"),
        (("counted",), 501, "groups/f%7Cx/share is not its count|do not sum"),
        (("counted",), True, "#/counted is not a count"),
        (("reading",), {"per": "record"}, "#/counted is more than its records"),
    ],
)
def test_a_report_that_contradicts_itself_is_refused(
    out: Path, keys: tuple[str, ...], value: object, message: str
) -> None:
    report = json.loads(json.dumps(AUDIT))
    inner = report
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path = save(out, "audit.json", report)
    with pytest.raises(DataError, match=rf"audit\.json is damaged: .*{message}"):
        card(out, reports=[path])


@pytest.mark.parametrize("text", ["", "{", '{"a":' * 100_000, "{}", "damaged"])
def test_a_cited_report_that_is_damaged_is_named(out: Path, text: str) -> None:
    path = save(out, "audit.json", AUDIT)
    card(out)
    if text == "damaged":
        text = json.dumps({**AUDIT, "counted": 501})
    path.write_text(text)
    with pytest.raises(DataError, match=r"audit\.json is "):
        card(out)
    assert {problem.path for problem in iter_card_problems(out)} == {"audit.json"}


def test_a_template_that_does_not_end_is_stopped(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    (tmp_path / "t").write_text(loops)
    monkeypatch.setattr(
        "curate.publishing.card.template._START",
        """
import sys; sys.path[:] = sys.argv[1:]
from curate.publishing.card import template
template._MAX_SECONDS = 3; template.main()
""",
    )
    with pytest.raises(DataError, match="t cannot be rendered in 20 seconds"):
        card(out, template=tmp_path / "t")


def test_the_citation_file_and_bibtex(out: Path) -> None:
    write_answers(out, authors='["Researcher, A.", "The Lab"]', doi='"10.5281/zenodo.1"')
    text = card(out)
    citation = yaml.safe_load((out / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "dataset"
    assert citation["license"] == "CC-BY-4.0"
    assert citation["authors"] == [
        {"family-names": "Researcher", "given-names": "A."}, {"name": "The Lab"},
    ]  # fmt: skip
    assert "@misc{street-scenes," in text
    assert "author = {Researcher, A. and The Lab}" in text
    assert "doi = {10.5281/zenodo.1}" in text


def test_the_command_that_verifies_names_the_repository(out: Path) -> None:
    assert "\ncurate verify hf:OWNER/NAME\n" in card(out)
    write_answers(out, url='"https://huggingface.co/datasets/my-lab/street-scenes"')
    assert "\ncurate verify hf:my-lab/street-scenes\n" in card(out)


def test_init_asks_and_never_overwrites(out: Path) -> None:
    (out / "card.toml").unlink()
    with pytest.raises(DataError, match="--init"):
        card(out)
    curate.write_card(out, curate.CardOptions(init=True))
    with pytest.raises(DataError, match=r"dataset\.title has no answer"):
        card(out)
    with pytest.raises(UsageError, match="exists"):
        curate.write_card(out, curate.CardOptions(init=True))


@pytest.mark.parametrize("name", ["audit", "croissant.json", "a#b.json", "a`b.json"])
def test_a_report_of_a_name_that_cannot_be_cited_is_refused(out: Path, name: str) -> None:
    path = save(out, name, AUDIT)
    with pytest.raises(DataError, match=r"must end in \.json without any of"):
        card(out, reports=[path])


def test_the_profile_of_neurips_needs_every_field(out: Path) -> None:
    with pytest.raises(DataError, match=r"rai:dataLimitations, rai:dataBiases, rai:personalSens"):
        card(out, profile="neurips2026")
    write_answers(
        out, limitations='"a"', biases='"b"', sensitive='"c"', social_impact='"d"',
        synthetic="false",
    )  # fmt: skip
    card(out, profile="neurips2026")
    croissant = json.loads((out / "croissant.json").read_text())
    for name in NEURIPS_2026:
        assert croissant[name] not in (None, "", [], {})
    assert croissant["rai:hasSyntheticData"] is False


def test_the_profile_of_the_eu_needs_evidence_for_every_row(out: Path) -> None:
    with pytest.raises(DataError, match=r"no evidence for gdpr-5-1-a.*gdpr-35.*ai-act-10-2-f"):
        card(out, profile="eu")
    save(out, "audit.json", AUDIT)
    run = json.loads((out / "manifest/run.json").read_text())
    save(out, "impact.json", impact(run["records"]["sha256"]))
    write_answers(
        out, limitations='"a"', biases='"b"', plan='"c"', annotators='"d"', out_of_scope='"e"'
    )
    text = (
        (out / "card.toml")
        .read_text()
        .replace(
            "[governance]\n",
            '[governance]\ngdpr-5-1-a = { evidence = "Consent forms" }\n'
            'gdpr-35 = { evidence = "DPIA of 2026-02-01" }\n'
            'ai-act-10-2-d = { evidence = "Protocol of 2026-01-15" }\n'
            'ai-act-10-5 = { not_applicable = "no special categories" }\n'
            'ai-act-10-2-g = { not_applicable = "nothing was corrected" }\n',
        )
    )
    (out / "card.toml").write_text(text)
    found = shown(card(out, profile="eu"))
    assert "DPIA of 2026-02-01" in found
    assert "not applicable | no special categories |" in found
    assert "It is not legal advice" in found


def test_a_correction_has_its_own_evidence() -> None:
    documents = {
        "manifest/run.json": {"source": {"obfuscated": True}, "recipe": {"strategy": "subset"}},
        "manifest/after.json": {"attributes": {"gender": {}}},
    }
    rows = {row.id: row for row in make_rows(documents, {"after": "manifest/after.json"}, {})}
    assert rows["gdpr-25"].evidence == "`manifest/run.json#/source/obfuscated`"
    assert rows["ai-act-10-2-f"].evidence == "`manifest/after.json#/attributes`"
    assert rows["ai-act-10-2-d"].status == "none"


def test_a_row_cites_only_answers_that_card_toml_has(out: Path) -> None:
    assert "card.toml#/use/out_of_scope" not in card(out)
    assert "Out of scope: Identifying people" in card(out)
    write_answers(out, out_of_scope='"Anything but tests."')
    assert "| evidence | `card.toml#/use/out_of_scope` |" in card(out)


def test_an_answer_of_the_governance_table_is_text(out: Path) -> None:
    text = (out / "card.toml").read_text()
    row = '[governance]\ngdpr-35 = { evidence = "`x.json#/a` | b" }\n'
    (out / "card.toml").write_text(text.replace("[governance]\n", row))
    assert "| evidence | \\`x.json#/a\\` \\| b |" in card(out)


def test_an_unknown_governance_row_is_named() -> None:
    with pytest.raises(DataError, match=r"governance\.gdpr-99 is not a row; the rows are"):
        make_rows({}, {}, {"gdpr-99": {"evidence": "x"}})


def test_sidecars_in_the_card(tmp_path: Path) -> None:
    from tests.publishing.outs import write_photos

    folder = tmp_path / "place"
    photos = folder / "photos"
    write_photos(photos)
    rows = [
        {"file_name": path.relative_to(photos).as_posix(), "author": "x", "latitude": 1.5}
        for path in sorted(photos.rglob("*.jpg"))
    ]
    (photos / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = make_out(folder)
    text = (out / "README.md").read_text()
    assert "| names of people or accounts | author | " in text
    assert "| places (GPS) | latitude | " in text
    assert list(find_mismatches(text, {})) != []
    assert curate.write_card(out, curate.CardOptions(check=True)).problems == ()


def test_the_example_picture_is_the_methods(out: Path) -> None:
    import cv2

    picture = cv2.imread(str(out / "before_after.jpg"))
    assert picture is not None
    _, width, _ = picture.shape
    before, after = picture[:, : width // 2], picture[:, width // 2 :]
    different = (abs(before.astype(int) - after).max(axis=2) > 40).mean()
    assert 0.05 < different < 0.3  # the face, and nothing but the face


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "x" * (5 << 20),
        "a = " + "[" * 20_000 + "]" * 20_000,
        "a = " + "{b=" * 20_000,
        "[dataset]\ntitle = 5",
        "dataset = 5",
        "[dataset]\ntitle = 'a\n",
        "[governance]\nx = 5",
        "[[governance]]",
        "changelog = 5",
        "[[changelog]]\nversion = 1\ndate = 5\nchanges = 5",
        "[[changelog]]\nversion = '1'\ndate = 5\nchanges = ['x']",
        "[[changelog]]\nversion = '1'\ndate = 07:32:00\nchanges = ['x']",
        "[[changelog]]\nversion = '1'\ndate = [1]\nchanges = ['x']",
        "[[changelog]]\nversion = '1'\ndate = 2026-01-01\nchanges = 'x'",
    ],
    ids=lambda text: repr(text[:30]),
)
@pytest.mark.timeout(30)
def test_a_card_toml_of_any_content_is_one_line(out: Path, text: str) -> None:
    answers = (out / "card.toml").read_text() if text.startswith("[[changelog") else ""
    (out / "card.toml").write_text(f"{answers}\n{text}")
    with pytest.raises(DataError) as raised:
        card(out)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 2000


def test_a_card_toml_that_is_no_file_is_one_line(out: Path) -> None:
    (out / "card.toml").unlink()
    (out / "card.toml").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        card(out)
    (out / "card.toml").rmdir()
    os.mkfifo(out / "card.toml")
    with pytest.raises(DataError, match="not a regular file"):
        card(out)


REPORTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_reports_of_any_content_are_used_or_refused(out: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(SIGNS)))
    report = {"version": 1, **{key: data.draw(REPORTS) for key in SIGNS[kind]}}
    path = save(out, "any.json", report)
    for options in ({}, {"reports": (path,)}):
        with contextlib.suppress(CurateError):
            card(out, **options)


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\u202eb", "a\nb", "x" * 100 + "\x7f"])
def test_a_class_that_no_card_can_name_is_one_line(tmp_path: Path, name: str) -> None:
    for each in ("plain", name):
        (tmp_path / "in" / each).mkdir(parents=True)
        pixels = np.random.default_rng(len(each)).integers(0, 255, (40, 48, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / each / "a.png")
    curate.blur(tmp_path / "in", tmp_path / "out", faces=no_faces(tmp_path, name), quiet=True)
    write_answers(tmp_path / "out")
    with pytest.raises(DataError, match="a card cannot have the class name") as caught:
        card(tmp_path / "out")
    assert str(caught.value).isprintable()
    assert not (tmp_path / "out/README.md").exists()


def no_faces(folder: Path, name: str) -> Path:
    path = folder / "faces.json"
    path.write_text(
        json.dumps([{"file": f"{each}/a.png", "faces": []} for each in ("plain", name)])
    )
    return path
