from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate.balance.audit.run import AuditOptions, audit, merge_audits
from curate.balance.groups import parse_bins
from curate.core.errors import CurateError, DataError, MissingExtraError, UsageError
from tests.conftest import ROOT
from tests.layouts.in_memory import FORMS, pop_origin

SCHEMA = json.loads((ROOT / "manifests/audit-1.schema.json").read_text())
DEMO = ROOT / "manifests/demo"


def ask(source: Path | None, *by: str, **options: Any) -> dict[str, Any]:
    """The report on a question, which always fits its schema."""
    given = {name: options.pop(name) for name in ("groups", "label", "manifest") if name in options}
    report = audit(source, by, **given, options=AuditOptions(**options)).to_dict()
    jsonschema.validate(report, SCHEMA)
    return json.loads(json.dumps(report, allow_nan=False))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A thousand people with a hole in them, and a job that goes with gender."""
    random = np.random.default_rng(0)
    gender = random.choice(["F", "M"], size=1000, p=[0.4, 0.6])
    age = random.integers(0, 90, size=1000)
    job = np.where(random.random(1000) < np.where(gender == "F", 0.6, 0.3), "nurse", "cook")
    table = pd.DataFrame({"id": [f"{n}.jpg" for n in range(1000)], "gender": gender,
                          "age": age, "job": job})  # fmt: skip
    table = table[~((table.gender == "F") & (table.age >= 65))]
    table.to_csv(tmp_path / "people.csv", index=False)
    return tmp_path / "people.csv"


AGES = dict([parse_bins("age=child<18,adult<65,old")])


def test_figures_are_those_of_the_table(people: Path) -> None:
    report = ask(people, "gender", "gender,age", label="job", bins=AGES)
    table = pd.read_csv(people)
    table["age"] = pd.cut(table.age, [-1, 17.5, 64.5, 100], labels=["child", "adult", "old"])
    assert report["records"] == report["counted"] == len(table)
    for gender, count in table.gender.value_counts().items():
        group = report["attributes"]["gender"]["groups"][gender]
        assert group["count"] == count
        assert group["share"] == pytest.approx(count / len(table), abs=1e-6)
        assert group["ratio_to_target"] == pytest.approx(2 * count / len(table), abs=1e-5)
        assert group["ci95"][0] < group["share"] < group["ci95"][1]
    crossed = report["intersections"]["gender,age"]["groups"]
    counts = table.groupby(["gender", "age"], observed=False).size()
    assert {key: group["count"] for key, group in crossed.items()} == {
        f"{gender}|{age}": count for (gender, age), count in counts.items()
    }
    rates = table[table.job == "nurse"].groupby("gender").size() / table.groupby("gender").size()
    for gender, rate in rates.items():
        found = report["base_rates"]["nurse"]["gender"][gender]
        assert found["rate"] == pytest.approx(rate, abs=1e-6)
    assert report["base_rates"]["nurse"]["gender"]["M"]["below_four_fifths"]
    assert list(report["attributes"]["age"]["groups"]) == ["child", "adult", "old"]


def test_what_goes_together_is_flagged_and_the_hole_is_found(people: Path) -> None:
    report = ask(people, "gender", "age", label="job", bins=AGES)
    flagged = {
        (each["label"], each["group"]): each["npmi"] > 0
        for each in report["associations"]
        if each["flagged"] and each["attribute"] == "gender"
    }
    assert flagged == {
        ("nurse", "F"): True, ("nurse", "M"): False, ("cook", "F"): False, ("cook", "M"): True,
    }  # fmt: skip
    assert report["label_fits"]["gender"]["p"] < 1e-6
    assert report["uncovered"] == [{"pattern": {"gender": "F", "age": "old"}, "count": 0}]


def test_every_form_of_table_says_the_same(people: Path, tmp_path: Path) -> None:
    table = pd.read_csv(people)
    table.to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    table.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    pq.write_table(pa.Table.from_pandas(table), tmp_path / "t.parquet")
    want = ask(people, "gender,age", label="job", bins=AGES)
    for name in ("t.tsv", "t.jsonl", "t.parquet"):
        found = ask(tmp_path / name, "gender,age", label="job", bins=AGES)
        assert {**found, "input": None} == {**want, "input": None}, name


def test_a_dataset_is_joined_by_the_ends_of_paths(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    for name in ("train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "val/dog/4.png"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(source / name)
    table = write(tmp_path / "t.csv", "file,tone\n1.png,I\ndog/2.png,II\nimages/9.png,I\n")
    report = ask(source, "tone", "split", groups=table, label="category")
    assert {name: each["count"] for name, each in report["attributes"]["tone"]["groups"].items()} \
        == {"I": 1, "II": 1, "(missing)": 2}  # fmt: skip
    assert report["attributes"]["split"]["groups"]["val"]["count"] == 2
    assert report["labels"]["cat"]["count"] == 2
    assert report["input"]["unmatched"] == 1
    assert report["input"]["unmatched_examples"] == ["images/9.png"]
    assert any("have no tone" in each for each in report["statements"])
    assert any(
        "Ids of the table that match no record, so that their rows are ignored: 1," in each
        for each in report["statements"]
    )


def test_people_in_one_photo_count_as_asked(tmp_path: Path) -> None:
    lines = '{"id": "1", "gender": ["F", "M"]}\n{"id": "2", "gender": "F"}\n'
    table = write(tmp_path / "t.jsonl", lines)
    groups = ask(table, "gender")["attributes"]["gender"]["groups"]
    assert {name: each["count"] for name, each in groups.items()} == {"F": 1, "F+M": 1}
    report = ask(table, "gender", per="person")
    groups = report["attributes"]["gender"]["groups"]
    assert {name: each["count"] for name, each in groups.items()} == {"F": 2, "M": 1}
    assert (report["records"], report["counted"]) == (2, 3)


def test_lines_of_one_id_are_people_where_people_count(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "id,gender\n1,F\n1,M\n2,F\n")
    report = ask(table, "gender", per="person")
    assert (report["records"], report["counted"]) == (2, 3)
    with pytest.raises(DataError, match=r"the id '1' is duplicated; .* --per person"):
        ask(table, "gender")


def test_a_manifest_says_whether_privacy_is_equal(tmp_path: Path) -> None:
    alone = ask(None, "has_face", manifest=DEMO)
    ids = pd.concat(pd.read_parquet(each) for each in sorted((DEMO / "records").iterdir()))
    written = ids[ids.outcome == "written"]
    groups = alone["attributes"]["has_face"]["groups"]
    assert groups["yes"]["count"] == int((written.faces.str.len() > 0).sum())
    assert groups["(missing)"]["count"] == int((ids.outcome == "withheld").sum())
    ids["tone"] = ["I" if place % 2 else "II" for place in range(len(ids))]
    ids[["id", "tone"]].to_csv(tmp_path / "t.csv", index=False)
    report = ask(None, "tone", manifest=DEMO, groups=tmp_path / "t.csv")
    assert set(report["outcomes"]) == {"outcome", "has_face", "faces", "blurred_share"}
    withheld = report["outcomes"]["outcome"]["withheld"]["tone"]
    assert sum(each["count"] for each in withheld.values()) == (ids.outcome == "withheld").sum()
    assert "none" in report["outcomes"]["faces"]


def test_a_reference_population_is_a_target(people: Path, tmp_path: Path) -> None:
    target = write(tmp_path / "target.csv", "gender,share\nF,3\nM,1\n")
    found = ask(people, "gender", targets=(target,))["attributes"]["gender"]
    groups = found["groups"]
    assert found["target"] == "reference"
    assert groups["F"]["target"] == 0.75
    assert groups["F"]["ratio_to_target"] == pytest.approx(groups["F"]["share"] / 0.75, abs=1e-5)


def test_a_report_for_the_public_hides_small_counts(people: Path) -> None:
    report = ask(
        people, "gender,age", label="job", bins=dict([parse_bins("age=1,2,40")]), min_cell=10
    )
    counts = [each["count"] for each in report["intersections"]["gender,age"]["groups"].values()]
    assert None in counts
    assert all(count is None or count == 0 or count >= 10 for count in counts)
    assert report["suppressed"]["counts"] > 2
    assert (report["input"], report["uncovered"], report["coverage"]) == (None, [], False)
    assert report["intersections"]["gender,age"]["entropy"] is None
    everything = json.dumps(report)
    assert ".jpg" not in everything


def test_noise_needs_opendp(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'curate-dataset\[dp\]'"):
        ask(people, "gender", epsilon=1.0)


def test_noise_is_of_the_stated_size(people: Path) -> None:
    pytest.importorskip("opendp")
    report = ask(people, "gender", label="job", epsilon=1.0)
    assert report["noise"] == {"epsilon": 1.0, "tables": 4, "scale": 4.0}
    exact = ask(people, "gender", label="job")
    assert abs(report["counted"] - exact["counted"]) < 200
    assert report["input"] is None
    assert not any(each["flagged"] for each in report["associations"])
    assert any("ε = 1, which protects each record" in each for each in report["statements"])
    noisy, plain = (each["attributes"]["gender"]["groups"]["F"] for each in (report, exact))
    assert noisy["ci95"][1] - noisy["ci95"][0] > plain["ci95"][1] - plain["ci95"][0]


def test_noise_that_leaves_nothing_is_still_a_report(tmp_path: Path) -> None:
    pytest.importorskip("opendp")
    table = write(tmp_path / "t.csv", "id,a,l\n1,x,y\n2,z,y\n")
    for _ in range(5):
        report = ask(table, "a", label="l", epsilon=1e-6)
        assert report["noise"]["scale"] == 4e6


def test_a_label_that_nobody_has_is_no_reason_to_stop(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "id,a,l\n1,x,\n2,y,\n")
    report = ask(table, "a", label="l")
    assert report["label_fits"] == {"a": None}
    assert report["associations"] == []
    assert report["labels"]["(missing)"]["count"] == 2
    assert ask(table, "l", label="a")["label_fits"] == {"l": None}


def test_labels_of_a_single_record_are_told(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "id,a,l\n1,x,rare\n2,y,often\n3,x,often\n")
    said = ask(table, "a", label="l")["statements"]
    assert any("1 labels have a single record, such as rare" in each for each in said)


def test_pmi_has_an_interval_beside_that_of_npmi(people: Path) -> None:
    found = ask(people, "gender", label="job")["associations"]
    for each in found:
        assert each["pmi_ci95"][0] < each["pmi"] < each["pmi_ci95"][1]
        assert each["ci95"][0] < each["npmi"] < each["ci95"][1]


def test_sites_are_joined_into_the_audit_of_all(people: Path, tmp_path: Path) -> None:
    table = pd.read_csv(people)
    paths = []
    for site in range(3):
        table[site::3].to_csv(tmp_path / f"{site}.csv", index=False)
        paths.append(tmp_path / f"{site}.json")
        options = AuditOptions(bins=AGES)
        found = audit(
            tmp_path / f"{site}.csv", ["gender", "gender,age"], label="job", options=options
        )
        found.save(json=paths[-1])
    joined = merge_audits(paths).to_dict()
    jsonschema.validate(joined, SCHEMA)
    whole = ask(people, "gender", "gender,age", label="job", bins=AGES)
    assert joined["sites"] == 3
    differ = {key for key in whole if joined[key] != whole[key]}
    assert differ <= {"input", "sites"}


def test_audits_that_do_not_fit_are_not_joined(people: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json", tmp_path / "c.json"]
    for path, by, seed in zip(paths, ("gender", "job", "gender"), (0, 0, 1), strict=True):
        audit(people, [by], options=AuditOptions(seed=seed)).save(json=path)
    with pytest.raises(DataError, match="count different things"):
        merge_audits(paths[:2])
    with pytest.raises(DataError, match="other options"):
        merge_audits([paths[0], paths[2]])
    with pytest.raises(UsageError, match="two or more different"):
        merge_audits([paths[0], paths[0]])
    for text, said in (
        ("{", "is not valid JSON"),
        ("[]", "not a report of curate audit"),
        ('{"version": 9}', "version 9"),
    ):
        with pytest.raises(DataError, match=said):
            merge_audits([paths[0], write(tmp_path / "x.json", text)])
    forged = json.loads(paths[0].read_text())
    forged["census"]["tables"][0]["counts"] = [-1]
    with pytest.raises(DataError, match="is not a report of curate audit that can be merged"):
        merge_audits([paths[0], write(tmp_path / "x.json", json.dumps(forged))])


BAD = [
    ("id,a\n1,x\n", {"by": "b"}, "has no column 'b'; there is: id, a"),
    ("id,a\n", {"by": "a"}, "is empty"),
    ("", {"by": "a"}, "is empty"),
    ("id,a\n1,x\n1,y\n", {"by": "a"}, "'1' is duplicated"),
    ("id,a\n1,x\n,y\n", {"by": "a"}, "record 2, has no id"),
    ("id,a\n" + "".join(f"{n},v{n}\n" for n in range(10_000)), {"by": "a"}, "1,000 values"),
    ("id,a\n1,x\n", {"by": "a,a"}, "names an attribute twice"),
    ("id,a\n1,x\n", {"by": "a", "label": "a"}, "both the label and an attribute"),
    ("id,a\n1,x\n", {"by": "a", "id_column": "name"}, "has no column 'name'; it has: id, a"),
    ("id,a\n1,x\n", {"by": "a", "bins": AGES}, "--bins names 'age'"),
    ("id,age\n1,x\n", {"by": "age", "bins": AGES}, "record 1: age is binned, but 'x'"),
    ("id,a\n1,x\n", {"by": "a", "min_cell": 10}, "fewer than --min-cell 10"),
    ("id,a\n1,x\n", {"by": "a", "min_cell": 10, "epsilon": 1.0}, "choose one"),
    ("id,a,a\n1,x,y\n", {"by": "a"}, "duplicate column name"),
    ("id,a\n1,x,y\n", {"by": "a"}, "does not have as many fields"),
]


@pytest.mark.parametrize(("text", "options", "said"), BAD)
def test_bad_input_is_one_clear_line(
    tmp_path: Path, text: str, options: dict[str, Any], said: str
) -> None:
    table = write(tmp_path / "t.csv", text)
    with pytest.raises(CurateError) as caught:
        ask(table, options.pop("by"), **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gender,share\nX,1\n", "has gender 'X', which no record has; values: F, M"),
        ("gender,share\nF,1\n", "no row for 'M'"),
        ("gender\nF\n", "no column share or count"),
        ("gender,share\n", "is an empty target"),
        ("gender,share\nF,-1\n", "record 1: '-1' is not a share"),
        ("gender,share\nF,1\nF,2\n", "duplicate row for 'F'"),
        ("height,share\nF,1\n", "'height' is not in --by"),
        ("share\n1\n", "no attribute column"),
    ],
)
def test_a_bad_target_is_one_clear_line(people: Path, tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(CurateError) as caught:
        ask(people, "gender", targets=(write(tmp_path / "target.csv", text),))
    assert said in str(caught.value)


def test_ids_that_fit_nothing_are_one_clear_line(tmp_path: Path, people: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "photos/other.png")
    with pytest.raises(DataError, match=r"none of the .* ids of .*people.csv, such as"):
        ask(tmp_path / "photos", "gender", groups=people)


@pytest.mark.data
def test_the_margin_of_forty_thousand_real_labels(shared_data: Path) -> None:
    table = shared_data / "fairface/train_labels_only.csv"
    report = ask(table, "race", "gender", "age", "race,gender,age")
    frame = pd.read_csv(table)
    counts = frame.groupby(["race", "gender", "age"]).size()
    crossed = report["intersections"]["race,gender,age"]["groups"]
    for (race, gender, age), count in counts.items():
        assert crossed[f"{race}|{gender}|{age}"]["count"] == count
    shares = frame.race.value_counts(normalize=True)
    found = report["attributes"]["race"]
    assert found["effective_groups"] == pytest.approx(
        np.exp(-(shares * np.log(shares)).sum()), abs=1e-5
    )
    for each in report["uncovered"]:
        matching = frame
        for name, value in each["pattern"].items():
            matching = matching[matching[name] == value]
        assert len(matching) == each["count"] < 30


COCO = {
    "images": [{"id": n, "file_name": f"{n}.jpg"} for n in (1, 2, 3)],
    "categories": [{"id": 7, "name": "person"}, {"id": 8, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 7, "attributes": {"gender": "F", "age": 30}},
        {"id": 2, "image_id": 1, "category_id": 7, "attributes": {"gender": "M"}},
        {"id": 3, "image_id": 2, "category_id": 8},
    ],
}


def counts_of(report: dict[str, Any], name: str) -> dict[str, int]:
    return {key: group["count"] for key, group in report["attributes"][name]["groups"].items()}


def test_attributes_can_stand_in_coco_annotations(tmp_path: Path) -> None:
    path = write(tmp_path / "people.json", json.dumps(COCO))
    report = ask(path, "gender", label="category")
    assert counts_of(report, "gender") == {"F+M": 1, "(missing)": 2}
    assert report["records"] == 3
    assert {name: each["count"] for name, each in report["labels"].items()} == {
        "person": 1, "dog": 1, "(missing)": 1,
    }  # fmt: skip
    people = ask(path, "gender", per="person")
    assert counts_of(people, "gender") == {"F": 1, "M": 1, "(missing)": 2}
    assert (people["records"], people["counted"]) == (3, 4)


def test_coco_annotations_are_joined_with_a_dataset(tmp_path: Path) -> None:
    path = write(tmp_path / "people.json", json.dumps(COCO))
    (tmp_path / "photos/val").mkdir(parents=True)
    for name in ("1.jpg", "4.jpg"):
        Image.new("RGB", (4, 4)).save(tmp_path / "photos/val" / name)
    report = ask(tmp_path / "photos", "gender", groups=path)
    assert counts_of(report, "gender") == {"F+M": 1, "(missing)": 1}
    assert report["input"]["unmatched_examples"] == ["2.jpg", "3.jpg"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": [{"id": 1}]}, "images[0] has no file_name"),
        ({"images": COCO["images"] + COCO["images"]}, "images[3] has a duplicate id"),
        ({"annotations": [{"image_id": 9}]}, "annotations[0] belongs to an image that is absent"),
        ({"annotations": [{"image_id": 1, "attributes": 3}]}, "attributes is not an object"),
        ({"annotations": [3]}, "annotations[0] is not an object"),
        ({"annotations": []}, "has no column 'gender'"),
    ],
)
def test_bad_coco_annotations_are_one_clear_line(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = write(tmp_path / "people.json", json.dumps({**COCO, **change}))
    with pytest.raises(CurateError) as caught:
        ask(path, "gender")
    assert said in str(caught.value)


def test_a_reference_group_can_be_stated(people: Path, tmp_path: Path) -> None:
    asked = {"label": "job", "bins": AGES, "references": {"age": "adult", "gender,age": "M|adult"}}
    report = ask(people, "gender,age", **asked)
    rates = report["base_rates"]["nurse"]["age"]
    assert rates["adult"]["difference"] is None
    assert rates["child"]["difference"] == pytest.approx(
        rates["child"]["rate"] - rates["adult"]["rate"], abs=1e-5
    )
    crossed = report["base_rates"]["nurse"]["gender,age"]
    assert crossed["F|adult"]["ratio"] == pytest.approx(
        crossed["F|adult"]["rate"] / crossed["M|adult"]["rate"], abs=1e-4
    )
    assert report["base_rates"]["nurse"]["gender"]["M"]["difference"] is not None
    assert not [
        each
        for each in report["adjusted"]
        if (each["attribute"], each["group"]) == ("age", "adult")
    ]
    file = write(tmp_path / "a.json", json.dumps(report))
    other = write(tmp_path / "b.json", json.dumps(report))
    merged = merge_audits([file, other]).to_dict()
    assert merged["rules"]["references"] == asked["references"]
    for wrong, problem in (
        ({"age": "baby"}, "choose one of: child, adult"),
        ({"job": "cook"}, "--by"),
    ):
        with pytest.raises(DataError, match=problem):
            ask(people, "age", bins=AGES, references=wrong)


@pytest.mark.parametrize("form", FORMS)
def test_a_table_in_memory_gives_the_report_of_its_file(form: str, tmp_path: Path) -> None:
    for number in range(6):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    rows = "".join(f"{n},{'fm'[n % 2]},{'1' if n else ''}\n" for n in range(7))
    path = write(tmp_path / "people.csv", "id,gender,site\n" + rows)
    for source in (tmp_path, None):
        of_file = ask(source, "gender,site", groups=path)
        found = ask(source, "gender,site", groups=FORMS[form](path))
        (before, of_memory), (after, in_memory) = map(
            pop_origin, (of_file["input"], found["input"])
        )
        assert found == of_file
        assert (of_memory, in_memory) == (False, True)
        assert before != after
    private = audit(tmp_path, "gender", FORMS[form](path), options=AuditOptions(min_cell=2))
    assert private.to_dict()["input"] is None


def test_errors_of_a_table_in_memory_name_the_argument(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["a.png"], "gender": ["f"]})
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    with pytest.raises(
        UsageError, match=r"^groups has no column 'gendre'; .*did you mean 'gender'"
    ):
        audit(None, "gendre", table)
    table.to_parquet(tmp_path / "people.parquet")
    with pytest.raises(UsageError, match=r"people.parquet has .*did you mean 'gender'"):
        audit(None, "gendre", tmp_path / "people.parquet")
    with pytest.raises(UsageError, match=r"^neither groups nor the dataset has 'age'"):
        audit(tmp_path, "age", table)
    with pytest.raises(DataError, match=r"none of the 1 ids of groups, such as 'a.png', matches"):
        audit(tmp_path, "gender", table)
    for source in (tmp_path, None):
        with pytest.raises(DataError, match=r"^groups has no records"):
            audit(source, "gender", table[:0])
    with pytest.raises(DataError, match=r"^groups: the id 'a.png' is duplicated"):
        audit(None, "gender", pd.concat([table, table]))
