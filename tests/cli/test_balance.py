from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
from PIL import Image

from curate.manifest import corrections
from tests.conftest import InProcess, run_process
from tests.report.checks import check_page


@pytest.fixture
def run(in_process: InProcess) -> InProcess:
    return functools.partial(in_process, "balance")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Women are a quarter, and one in ten of them is a pilot; of the men, half."""
    path = tmp_path / "people.csv"
    rows = []
    for n in range(400):
        gender = "fmmm"[n % 4]
        is_pilot = n % 40 == 0 if gender == "f" else n % 8 in (1, 2, 3)
        rows.append(f"{n}.jpg,{gender},{n % 80},{'pilot' if is_pilot else 'nurse'}")
    path.write_text("file,gender,age,job\n" + "\n".join(rows) + "\n")
    return path


def test_a_correction_says_what_it_did_and_cost(
    table: Path, tmp_path: Path, run: InProcess
) -> None:
    out, report, page = tmp_path / "out", tmp_path / "report.json", tmp_path / "page.html"
    done = run_process(
        "balance", table, "--by", "gender", "--within", "job", "--strategy", "subset", "-o", out,
        "--report", report, "--html", page,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "400 records: " in done.stderr
    assert "bias amplification" in done.stderr
    assert page.read_text().startswith("<!doctype html>")
    check_page(page.read_text(), table.name)
    said = json.loads(report.read_text())
    assert said["comparisons"]["gender"]["after"]["worst_total_variation"] <= 0.011
    again = run(table, "--by", "gender", "--within", "job", "--strategy", "subset", "-o", out)
    assert "was already finished" in again.stderr


def test_a_dry_run_writes_nothing_and_tells_programs_all(
    table: Path, tmp_path: Path, run: InProcess
) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = run(table, "--by", "gender", "--strategy", "oversample", "--dry-run", "--json", "-q")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (
        json.loads(done.stdout)["counts"]["made"] == 189
    )  # 289 of 589 is the least share within 0.01 of a half
    assert sorted(tmp_path.rglob("*")) == before


def test_weights_go_into_a_sampler_as_the_help_says(
    table: Path, tmp_path: Path, run: InProcess
) -> None:
    import pandas
    import torch

    done = run(table, "--by", "gender", "--within", "job", "--target", "observed", "--strategy",
               "reweigh", "-o", tmp_path / "out", "-q")  # fmt: skip
    assert done.returncode == 0, done.stderr
    weights = pandas.read_parquet(tmp_path / "out/manifest/weights.parquet").set_index("id")
    people = pandas.read_csv(table)
    values = weights.weight[people.file].tolist()
    draws = torch.Generator().manual_seed(0)
    sampler = torch.utils.data.WeightedRandomSampler(values, 40_000, generator=draws)
    drawn = people.iloc[list(sampler)]
    rates = drawn.groupby("gender").job.apply(lambda jobs: (jobs == "pilot").mean())
    assert abs(rates["f"] - rates["m"]) < 0.02
    before = people.groupby("gender").job.apply(lambda jobs: (jobs == "pilot").mean())
    assert abs(before["f"] - before["m"]) > 0.3


def test_labels_that_were_decided_against_are_removed_and_can_be_appealed(
    table: Path, tmp_path: Path, run: InProcess, in_process: InProcess
) -> None:
    judged, report = tmp_path / "judged.csv", tmp_path / "labels.json"
    rows = [f"{job},{who},{'offensive' if job == 'pilot' else 'safe'}"
            for job in ("pilot", "nurse") for who in ("ann", "bob", "cat")]  # fmt: skip
    judged.write_text("label,annotator,safety\n" + "\n".join(rows) + "\n")
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("pilot\nnurse\n")
    audit = functools.partial(in_process, "audit", "labels", vocabulary, "-q", "-o", report)
    assert audit("--judgments", judged).returncode == 0
    removal = (table, "--label", "job", "--strategy", "labels", "--labels", report, "--dry-run",
               "--json", "-q")  # fmt: skip
    said = json.loads(run(*removal).stdout)
    assert said["labels"]["pilot"]["after"] == 0
    assert said["labels"]["nurse"]["after"] == said["labels"]["nurse"]["before"]
    appeal = tmp_path / "appeal.csv"
    appeal.write_text(judged.read_text().replace("offensive", "safe"))
    assert audit("--judgments", judged, "--judgments", appeal).returncode == 0
    done = run(*removal)
    assert done.returncode == 1
    assert "removes no label" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--by", "eyes"), 2, "no column 'eyes'"),
        (("--by", "gender", "--target", "even.csv"), 1, "even.csv"),
        (
            ("--by", "gender", "--target", "uniform", "--target", "observed"),
            2,
            "--target must be either",
        ),
        (("--by", "gender", "--label", "job", "--within", "age"), 2, "different columns"),
        (("--by", "gender", "--base-rate", "most"), 2, "--base-rate cannot be 'most'"),
        (
            ("--by", "gender", "--augmentation", "flip"),
            2,
            "--augmentation is not an option of strategy subset",
        ),
        (("--by", "gender", "--bins", "age=9", "--bins", "age=8"), 2, "twice"),
        ((), 2, "no attributes given"),
        (("--by", "gender", "--within", "file", "--min-per-label", "2"), 1, "fewer than the 2"),
        (("--by", "gender", "--within", "age", "--tolerance", "0"), 1, "too few records of"),
        (("--by", "gender", "--tolerance", "0.5"), 2, "would allow removing f"),
        (("--by", "gender,age"), 1, "requires records of f|1, f|10, f|11, f|13 and 76 more, but"),
    ],
)
def test_what_is_wrong_is_one_line_and_a_code(
    table: Path, arguments: tuple[str, ...], code: int, said: str, run: InProcess
) -> None:
    done = run(table, "--strategy", "subset", "--dry-run", *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"file,gender\n", "is empty"),
        (b"file,gender\na.jpg,f\na.jpg,m\n", "is duplicated"),
        ("file,gender\na.jpg,ü\n".encode("latin-1"), "UTF-8"),
        (
            b"file,gender\n" + b"".join(b"%d.jpg,g%d\n" % (n, n) for n in range(1500)),
            "1,000 values",
        ),
        (b"file,gender\na.jpg,\n", "no record has a value of gender"),
        (b"gender\nf\n", "has no column of ids, such as id or file_name; select one"),
    ],
)
def test_a_bad_table_is_one_line(tmp_path: Path, content: bytes, said: str, run: InProcess) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(content)
    done = run(path, "--by", "gender", "--strategy", "subset", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "out").exists()


def test_reports_go_nowhere_that_is_read_or_written(
    table: Path, tmp_path: Path, run: InProcess
) -> None:
    done = run(table, "--by", "gender", "--strategy", "subset", "--dry-run", "--report", table)
    assert done.returncode == 2
    assert "is, or is inside, the input" in done.stderr
    done = run(table, "--by", "gender", "--strategy", "subset")
    assert done.returncode == 2
    assert "--output OUT" in done.stderr


def test_ids_without_a_suffix_can_be_oversampled(tmp_path: Path, run: InProcess) -> None:
    table, out = tmp_path / "people.csv", tmp_path / "out"
    table.write_text("id,gender\n" + "".join(f"{n},{'fm'[n % 4 > 0]}\n" for n in range(40)))
    done = run(table, "--by", "gender", "--strategy", "oversample", "-o", out, "-q")
    assert (done.returncode, done.stderr) == (0, "")
    rows = list(corrections.iter_rows(out / "manifest/records"))
    assert {row.id for row in rows if row.made_from == "4"} == {"4_aug1", "4_aug2"}


def test_a_correction_that_confounds_is_reported(tmp_path: Path, run: InProcess) -> None:
    table, report = tmp_path / "people.csv", tmp_path / "report.json"
    rows = ["f,young", "f,young", "m,young", "m,young", "m,young", "m,old"] * 40
    table.write_text("id,gender,age\n" + "".join(f"{n},{r}\n" for n, r in enumerate(rows)))
    done = run(table, "--by", "gender", "--by", "age", "--strategy", "subset", "--dry-run",
               "--report", report)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Warning: 1 association grows (Cramér's V): gender and age" in done.stderr
    found = json.loads(report.read_text())["confounding"]
    assert [each["grows"] for each in found["associations"]] == [True]
    assert found["emptied"]["attributes"]["cells"] == 3


def test_reweighing_tells_what_adjusted_figures_do_not_show(tmp_path: Path, run: InProcess) -> None:
    """Women apply to the department that admits few; within each, rates are equal."""
    table = tmp_path / "people.csv"
    cells = (("f", "A", 100, 60), ("m", "A", 400, 240), ("f", "B", 400, 80), ("m", "B", 100, 20))
    rows = [
        f"{gender},{department},{'yes' if n < hits else 'no'}"
        for gender, department, size, hits in cells
        for n in range(size)
    ]
    lines = "".join(f"{n},{row}\n" for n, row in enumerate(rows))
    table.write_text("id,gender,department,admitted\n" + lines)
    done = run(table, "--by", "gender", "--by", "gender,department", "--within", "admitted",
               "--target", "observed", "--strategy", "reweigh", "--dry-run")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "reweigh corrects the crude difference of yes for gender f (−24.0 points)" in done.stderr
    assert "vanished when adjusted for department" in done.stderr


def test_a_file_that_still_names_removed_images_is_reported_by_balance_and_verify(
    tmp_path: Path, run: InProcess, in_process: InProcess
) -> None:
    for name in "abcd":
        path = tmp_path / f"photos/{name}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (ord(name), 0, 0)).save(path)
    (tmp_path / "photos/captions.csv").write_text(
        "file,text\n" + "".join(f"{name}.jpg,x\n" for name in "abcd")
    )
    (tmp_path / "photos/list.xml").write_text(
        "<l>" + "".join(f"<i>{name}.jpg</i>" for name in "abcd") + "</l>"
    )
    table = tmp_path / "people.csv"
    table.write_text("id,gender\na,f\nb,m\nc,m\nd,m\n")
    out = tmp_path / "out"
    done = run(tmp_path / "photos", "--groups", table, "--by", "gender", "--strategy", "subset",
               "-o", out, "--visible-faces", "--include", "*.xml")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 file may still name removed images, such as 'list.xml'" in done.stderr
    rows = (out / "data/captions.csv").read_text().splitlines()[1:]
    kept = sorted(path.name for path in (out / "data").glob("*.jpg"))
    assert [row.partition(",")[0] for row in rows] == kept
    assert len(kept) < 4
    checked = in_process("verify", out)
    assert checked.returncode == 0, checked.stdout
    assert "1 file may still name removed images, such as 'list.xml'" in checked.stderr
