from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest
from PIL import Image

from curate.balance.labels.rules import LabelRules
from curate.balance.labels.run import audit_labels, load_label_decisions
from curate.balance.labels.vocabulary import load_vocabulary
from curate.core.errors import DataError, SchemaVersionError, UsageError
from tests.conftest import ROOT
from tests.report.checks import check_page

SCHEMA = json.loads((ROOT / "manifests/labels-1.schema.json").read_text())
WORDS = ("kind", "rude", "touchy", "vague", "new")
FIRST = """label,annotator,safety,imageability
kind,ann,safe,5
kind,bob,safe,5
kind,cyd,safe,4
rude,ann,offensive,4
rude,bob,offensive,4
rude,cyd,safe,4
touchy,ann,sensitive,4
touchy,bob,sensitive,5
touchy,cyd,safe,5
vague,ann,safe,1
vague,bob,safe,2
vague,cyd,safe,1
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def words(tmp_path: Path) -> Path:
    return write(tmp_path / "words.txt", "\n".join(WORDS) + "\n")


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return write(tmp_path / "first.csv", FIRST)


def ask(vocabulary: Path, *judgements: Path, source: Path | None = None, **rules: Any) -> Any:
    report = audit_labels(vocabulary, judgements, source, LabelRules(**rules)).to_dict()
    jsonschema.validate(report, SCHEMA)
    return json.loads(json.dumps(report, allow_nan=False))


def save_report(report: Any, path: Path) -> None:
    path.write_text(json.dumps(report))


def decisions(report: Any) -> dict[str, str]:
    return {label: said["decision"] for label, said in report["labels"].items()}


def test_every_label_is_decided_in_the_order_of_the_vocabulary(words: Path, first: Path) -> None:
    report = ask(words, first)
    assert list(report["labels"]) == list(WORDS)
    assert decisions(report) == {
        "kind": "keep", "rude": "remove", "touchy": "remove", "vague": "remove",
        "new": "undecided",
    }  # fmt: skip
    reasons = {label: said["reasons"] for label, said in report["labels"].items()}
    assert reasons["rude"] == ["offensive"]
    assert reasons["touchy"] == ["sensitive"]
    assert reasons["vague"] == ["not imageable"]
    rude = report["labels"]["rude"]["safety"]
    assert (rude["safe"], rude["sensitive"], rude["offensive"]) == (1, 0, 2)
    assert rude["unsafe_share"]["share"] == pytest.approx(2 / 3, abs=1e-6)
    assert rude["unsafe_share"]["ci95"] == pytest.approx([0.207657, 0.938508], abs=1e-5)
    assert report["labels"]["new"]["safety"]["unsafe_share"] is None
    assert report["labels"]["vague"]["imageability"]["mean"] == pytest.approx(4 / 3, abs=1e-6)
    assert report["decisions"] == {
        "keep": 1, "remove": 3, "undecided": 1, "contested": 1,
        "reasons": {"not imageable": 1, "offensive": 1, "sensitive": 1},
    }  # fmt: skip
    assert {"ann", "bob", "cyd"}.isdisjoint(json.dumps(report).split('"'))


def test_an_appeal_by_others_turns_a_removal(words: Path, first: Path, tmp_path: Path) -> None:
    appeal = write(
        tmp_path / "appeal.csv",
        "label,annotator,safety,imageability\n"
        + "".join(f"touchy,other{n},safe,5\n" for n in range(2)),
    )
    report = ask(words, first, appeal)
    assert decisions(report)["touchy"] == "keep"
    assert report["labels"]["touchy"]["judgements"] == [6, 4]
    assert [fact["replaced"] for fact in report["input"]["judgements"]] == [0, 0]
    assert report["input"]["annotators"] == 5


def test_a_later_judgement_of_the_same_annotator_replaces_the_earlier(
    words: Path, first: Path, tmp_path: Path
) -> None:
    text = "label,annotator,safety\ntouchy,ann,safe\ntouchy,cyd,safe\n"
    report = ask(words, first, write(tmp_path / "later.csv", text))
    assert decisions(report)["touchy"] == "keep"
    facts = report["input"]["judgements"]
    assert [fact["judgements"] for fact in facts] == [24, 2]
    assert [fact["in_force"] for fact in facts] == [22, 2]
    assert (facts[1]["replaced"], facts[1]["changed"]) == (2, 1)
    said = "2 judgments replaced earlier ones"
    assert any(said in each for each in report["statements"])
    # The other way round, the first word is the last.
    assert decisions(ask(words, tmp_path / "later.csv", first))["touchy"] == "remove"


def test_the_order_of_rows_is_nothing(words: Path, first: Path, tmp_path: Path) -> None:
    head, *rows = FIRST.splitlines()
    turned = write(tmp_path / "turned.csv", "\n".join([head, *reversed(rows)]) + "\n")
    one, other = ask(words, first), ask(words, turned)
    assert one["labels"] == other["labels"]
    assert one["agreement"] == other["agreement"]


def test_the_whole_way_from_judgements_to_an_appeal(
    words: Path, first: Path, tmp_path: Path
) -> None:
    path = tmp_path / "labels.json"
    save_report(ask(words, first), path)
    with pytest.raises(DataError, match=r"has 1 undecided labels, such as 'new'; .*--undecided"):
        load_label_decisions(path)
    save_report(ask(words, first, undecided="keep"), path)
    assert load_label_decisions(path) == {
        "rude": "offensive", "touchy": "sensitive", "vague": "not imageable",
    }  # fmt: skip
    save_report(ask(words, first, undecided="remove"), path)
    assert load_label_decisions(path)["new"] == "undecided"
    appeal = "label,annotator,safety\nrude,ann,safe\nrude,bob,safe\ntouchy,ann,safe\n"
    save_report(ask(words, first, write(tmp_path / "appeal.csv", appeal), undecided="keep"), path)
    assert load_label_decisions(path) == {"vague": "not imageable"}


def test_two_reasons_are_both_told(words: Path, tmp_path: Path) -> None:
    rows = "".join(f"rude,{name},offensive,1\n" for name in "abc")
    table = write(tmp_path / "t.csv", f"label,annotator,safety,imageability\n{rows}")
    save_report(ask(words, table, undecided="keep"), tmp_path / "labels.json")
    assert load_label_decisions(tmp_path / "labels.json") == {"rude": "offensive and not imageable"}


def test_a_question_that_nobody_answered_decides_nothing(words: Path, tmp_path: Path) -> None:
    rows = "".join(f"kind,{name},safe\nrude,{name},offensive\n" for name in "abc")
    report = ask(words, write(tmp_path / "t.csv", f"label,annotator,safety\n{rows}"))
    assert report["rules"]["questions"] == ["safety"]
    assert report["labels"]["kind"]["imageability"] is None
    assert decisions(report)["kind"] == "keep"
    assert set(report["agreement"]) == {"safety", "unsafe"}
    only = "".join(f"kind,{name},5\nrude,{name},1\n" for name in "abc")
    report = ask(words, write(tmp_path / "i.csv", f"label,annotator,imageability\n{only}"))
    assert any("is not necessarily safe" in each for each in report["statements"])


def test_all_table_formats_give_the_same_rows(words: Path, first: Path, tmp_path: Path) -> None:
    table = pd.read_csv(first)
    table.to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    table.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    table.astype({"imageability": float}).to_parquet(tmp_path / "t.parquet")
    want = ask(words, first)
    for name in ("t.tsv", "t.jsonl", "t.parquet"):
        assert ask(words, tmp_path / name)["labels"] == want["labels"], name


def test_an_empty_field_is_no_judgement_and_both_questions_may_stand_apart(
    words: Path, tmp_path: Path
) -> None:
    rows = "".join(f"kind,{n},Safe,\nkind,{n},,5.0\n" for n in range(3))
    report = ask(words, write(tmp_path / "t.csv", f"label,annotator,safety,imageability\n{rows}"))
    assert decisions(report)["kind"] == "keep"
    assert report["input"]["judgements"][0]["judgements"] == 6


def test_a_vocabulary_comes_in_many_forms(tmp_path: Path) -> None:
    listed = write(tmp_path / "a.json", '["n1", "n2"]')
    objects = write(tmp_path / "b.json", '[{"label": "n1", "name": "cat"}, {"label": "n2"}]')
    table = write(tmp_path / "c.csv", "label,name,gloss\nn1,cat,an animal\nn2,,\n")
    text = write(tmp_path / "d.txt", "\ufeffn1\n\n n2 \n")
    for path, form in ((listed, "json"), (objects, "json"), (table, "table"), (text, "text")):
        found = load_vocabulary(str(path))
        assert (found.form, list(found.labels)) == (form, ["n1", "n2"]), path
        assert found.sha256 is not None
    assert load_vocabulary(str(table)).labels["n1"] == {"name": "cat", "gloss": "an animal"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("train/kind/1.png", "train/rude/2.png", "train/rude/3.png", "val/rude/4.png",
                 "val/other/5.png", "6.png"):  # fmt: skip
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    return tmp_path / "photos"


def test_a_dataset_is_a_vocabulary(photos: Path, first: Path) -> None:
    report = ask(photos, first)
    assert decisions(report) == {"kind": "keep", "other": "undecided", "rude": "remove"}
    assert report["input"]["vocabulary"] == {"form": "dataset", "sha256": None, "labels": 3}
    assert report["input"]["judgements"][0]["unknown_examples"] == ["touchy", "vague"]


def test_the_images_that_a_removal_would_take_are_counted(
    words: Path, first: Path, photos: Path
) -> None:
    report = ask(words, first, source=photos)
    assert report["images"] == {
        "total": 6, "removed": 3,
        "splits": {"(none)": {"total": 1, "removed": 0}, "train": {"total": 3, "removed": 2},
                   "val": {"total": 2, "removed": 1}},
        "unlabeled": 1, "unknown": 1, "unknown_examples": ["other"],
    }  # fmt: skip
    assert report["labels"]["rude"]["images"] == {"train": 2, "val": 1}
    assert report["labels"]["touchy"]["images"] == {}
    assert ".png" not in json.dumps(report)
    assert any("would take 3 of 6 images (50.0 %)" in each for each in report["statements"])


def test_labels_whose_names_are_no_text_can_be_written(first: Path, tmp_path: Path) -> None:
    for name in (os.fsdecode(b"\xff"), "kind"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "photos" / name / "1.png")
    report = ask(tmp_path / "photos", first, source=tmp_path / "photos")
    assert len(report["labels"]) == 2
    assert (report["images"]["total"], report["images"]["unknown"]) == (2, 0)
    json.dumps(report, ensure_ascii=False).encode()


def test_an_image_of_two_labels_goes_once(first: Path, tmp_path: Path) -> None:
    coco = tmp_path / "coco"
    coco.mkdir()
    Image.new("RGB", (4, 4)).save(coco / "1.png")
    Image.new("RGB", (4, 4)).save(coco / "2.png")
    names = ("kind", "rude", "touchy")
    pairs = [(1, 1), (1, 2), (1, 3), (2, 1)]
    write(coco / "instances.json", json.dumps({
        "images": [{"id": n, "file_name": f"{n}.png"} for n in (1, 2)],
        "annotations": [{"id": n, "image_id": image, "category_id": category}
                        for n, (image, category) in enumerate(pairs)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, start=1)],
    }))  # fmt: skip
    report = ask(coco, first, source=coco)
    assert list(report["labels"]) == list(names)
    assert (report["images"]["total"], report["images"]["removed"]) == (2, 1)
    assert report["labels"]["kind"]["images"] == {"(none)": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label,annotator,safety\nkind,a,bad\n", r"record 1: safety is 'bad'; expected safe, sens"),
        (
            "label,annotator,imageability\nkind,a,6\n",
            r"imageability is '6'; expected 1, 2, 3, 4 or 5",
        ),
        ("label,annotator,imageability\nkind,a,4.5\n", r"imageability is '4.5'"),
        ("label,annotator,safety\nkind,,safe\n", r"record 1, has no annotator"),
        ("label,annotator,safety\n,a,safe\n", r"record 1, has no label"),
        (
            "label,annotator,safety\nkind,a,safe\nkind,a,safe\n",
            r"record 2: 'a' has two judgments of the safety",
        ),
        ("label,annotator,safety\n", r"is empty"),
        ("label,annotator,safety\nkind,a,\n", r"contains no judgments"),
        ("label,annotator,safety\nodd,a,safe\n", r"no judgment is of a label .*'odd'"),
        ("label,who,safety\nkind,a,safe\n", r"has no column 'annotator'; it has: label, who, saf"),
        ("label,annotator,verdict\nkind,a,safe\n", r"neither a column 'safety' nor 'imageability'"),
    ],
)
def test_a_malformed_table_is_one_clear_line(
    words: Path, tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(DataError, match=said) as error:
        ask(words, write(tmp_path / "t.csv", text))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("v.txt", "", "has no labels"),
        ("v.txt", "a\nb\na\n", r"line 3, has the label 'a', which is duplicated"),
        ("v.json", "{}", "is not a JSON list"),
        ("v.json", '["a"', "is not valid JSON; is it trunc"),
        ("v.json", '["a", null]', r"\[1\] has no label"),
        ("v.csv", "name\nx\n", r"has no column 'label'; it has: name"),
        ("v.csv", "label,name\n,x\n", "record 1, has no label"),
    ],
)
def test_a_malformed_vocabulary_is_one_clear_line(
    first: Path, tmp_path: Path, name: str, text: str, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        ask(write(tmp_path / name, text), first)


def test_a_vocabulary_that_is_not_there_or_no_text_is_one_clear_line(
    first: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"none\.txt cannot be read: No such file"):
        ask(tmp_path / "none.txt", first)
    (tmp_path / "v.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="is not valid UTF-8"):
        ask(tmp_path / "v.txt", first)


def test_a_table_is_given_once_and_there_is_one(words: Path, first: Path, tmp_path: Path) -> None:
    again = write(tmp_path / "again.csv", FIRST)
    with pytest.raises(UsageError, match=r"again\.csv is given twice"):
        ask(words, first, again)
    with pytest.raises(UsageError, match="give --judgments"):
        ask(words)


def test_one_judgement_a_label_cannot_say_how_far_people_agree(words: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "label,annotator,safety\nkind,a,safe\nrude,b,offensive\n")
    report = ask(words, table, min_annotators=1)
    assert report["agreement"]["safety"]["alpha"] is None
    assert any("is undefined: no label has two judgments" in x for x in report["statements"])
    assert decisions(report)["rude"] == "remove"


def test_the_page_says_what_the_report_says(
    words: Path, first: Path, photos: Path, tmp_path: Path
) -> None:
    audit_labels(words, [first], photos).save(html=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    check_page(page)
    assert "Krippendorff" in page
    assert "remove: offensive" in page
    assert "undecided: no safety and imageability" in page
    assert "ann" not in page.replace("annotator", "").replace("cannot", "").split()
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "1"}, "is not a label audit"),
        ({"labels": {"a": {}}}, "is not a label audit"),
        ({"labels": [1]}, "is not a label audit"),
        ({"labels": {"a": {"decision": "keep", "removed": True, "reasons": []}}}, "not a label au"),
        (
            {"labels": {"a": {"decision": "x", "removed": True, "reasons": []}}},
            "not a label audit",
        ),
    ],
)
def test_what_is_no_audit_of_labels_removes_nothing(
    words: Path, first: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = tmp_path / "labels.json"
    save_report({**ask(words, first, undecided="keep"), **change}, path)
    with pytest.raises(DataError, match=said):
        load_label_decisions(path)


def test_other_files_are_no_audit_of_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_label_decisions(tmp_path / "none.json")
    with pytest.raises(DataError, match="is not valid JSON"):
        load_label_decisions(write(tmp_path / "a.json", "{"))
    with pytest.raises(DataError, match="is not a label audit"):
        load_label_decisions(write(tmp_path / "b.json", '{"version": 1, "records": 3}'))
    with pytest.raises(SchemaVersionError, match="upgrade"):
        load_label_decisions(write(tmp_path / "c.json", '{"version": 2}'))
