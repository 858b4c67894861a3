from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import pytest

from curate.balance.audit.report import format_audit
from tests.conftest import InProcess, run_process
from tests.report.checks import check_page


@pytest.fixture
def run(in_process: InProcess) -> InProcess:
    return functools.partial(in_process, "audit")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    rows = [f"{n}.jpg,{'FM'[n % 3 > 0]},{n % 80},{'ab'[n % 2]}" for n in range(300)]
    path.write_text("file,gender,age,job\n" + "\n".join(rows) + "\n")
    return path


def test_an_audit_goes_to_stdout_and_its_figures_to_stderr(table: Path) -> None:
    done = run_process(
        "audit", table, "--by", "gender", "--by", "gender,age", "--bins", "age=18,65",
        "--label", "job", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["version"] == 1
    assert report["attributes"]["gender"]["groups"]["F"]["count"] == 100
    assert "33.3 %" in done.stderr
    assert "They cannot show why" in done.stderr


def test_an_audit_can_go_to_files(table: Path, tmp_path: Path, run: InProcess) -> None:
    report, page = tmp_path / "audit.json", tmp_path / "audit.html"
    done = run("--groups", table, "--by", "gender,job", "-o", report, "--html", page, "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert set(json.loads(report.read_text())["intersections"]) == {"gender,job"}
    text = page.read_text()
    assert "<svg" in text
    assert "http-equiv" in text
    check_page(text, table.name)
    assert 'src="http' not in text
    assert not list(tmp_path.glob("*.partial"))


def test_audits_are_joined(table: Path, tmp_path: Path, run: InProcess) -> None:
    for site in "ab":
        assert run(table, "--by", "gender", "-q", "-o", tmp_path / f"{site}.json").returncode == 0
    done = run("merge", tmp_path / "a.json", tmp_path / "b.json", "--json", "-q")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["records"] == 600


def test_names_in_the_data_cannot_write_to_the_page_or_the_terminal(
    tmp_path: Path, run: InProcess
) -> None:
    path = tmp_path / "t.jsonl"
    evil = "<script>alert(1)</script>\x1b[2J"
    path.write_text("".join(json.dumps({"id": n, "g": evil}) + "\n" for n in range(3)))
    done = run(path, "--by", "g", "--html", tmp_path / "p.html", "-o", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    assert "<script>" not in (tmp_path / "p.html").read_text()
    shown = format_audit(json.loads((tmp_path / "r.json").read_text()))
    assert "\x1b" not in shown
    assert "\\x1b[2J" in shown


@pytest.mark.parametrize(
    ("text", "arguments", "code", "said"),
    [
        (b"id,a\n1,x\n", ["--by", "b"], 2, "has no column 'b'"),
        (b"id,a\n1,x\n", [], 2, "missing option '--by'"),
        (b"id,a\n1,\xff\n", ["--by", "a"], 1, "is not UTF-8 text; save it as UTF-8"),
        (b"id,a\n1,x\n1,x\n", ["--by", "a"], 1, "is duplicated"),
        (b"id,a\n", ["--by", "a"], 1, "is empty"),
        (b"id,a\n1,x\n", ["--by", "a", "--bins", "a"], 2, "is not valid"),
        (b"id,a\n1,x\n", ["--by", "a", "--epsilon", "0"], 2, "--epsilon must be a number above 0"),
        (b"id,a\n1,x\n", ["--by", "a", "--min-cell", "5"], 1, "fewer than --min-cell 5"),
        (b"id,a\n1,x\n", ["--by", "a", "--target", "none.csv"], 1, "none.csv cannot be read"),
        (b"id,a\n1,x\n", ["--by", "a", "--manifest", "none"], 1, "none does not exist"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    tmp_path: Path, text: bytes, arguments: list[str], code: int, said: str, run: InProcess
) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(text)
    done = run(table, *arguments, "-o", tmp_path / "out.json", "--html", tmp_path / "out.html")
    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv"]


def test_what_is_read_is_not_written_over(table: Path, run: InProcess) -> None:
    before = table.read_bytes()
    for given in ([table], ["--groups", table]):
        done = run(*given, "--by", "gender", "-o", table)
        assert done.returncode == 2
        assert "is, or is inside, the input" in done.stderr
    assert table.read_bytes() == before


def test_what_is_no_audit_is_not_joined(tmp_path: Path, run: InProcess) -> None:
    (tmp_path / "a.json").write_text("{}")
    done = run("merge", tmp_path / "a.json", tmp_path / "b.json")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "is not a report of curate audit" in done.stderr


def test_a_dataset_that_is_not_there_is_one_line(tmp_path: Path, run: InProcess) -> None:
    done = run(tmp_path / "photos", "--by", "split")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "Traceback" not in done.stderr


def test_a_reference_group_is_parsed_and_shown(table: Path, tmp_path: Path, run: InProcess) -> None:
    page = tmp_path / "audit.html"
    options = ("--by", "gender", "--label", "job", "--json", "-q")
    done = run(table, *options, "--reference", "gender=M", "--html", page)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rules"]["references"] == {"gender": "M"}
    assert "gender M" in page.read_text()
    check_page(page.read_text(), table.name)
    for wrong in ("gender", "=M", "gender="):
        done = run(table, *options, "--reference", wrong)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr


@pytest.mark.parametrize("groups", [(), ("--groups", "people.csv")])
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        *((f"p{end}", "unpack the archive") for end in (".zip", ".7z", ".rar")),
        *((f"p{end}", "decompress it to a plain .tar") for end in (".tar.gz", ".tgz")),
        *((f"p{end}", "the folder that contains the file") for end in (".jpg", ".PNG")),
    ],
)
def test_a_file_in_place_of_a_dataset_is_refused_with_the_remedy(
    name: str, remedy: str, groups: tuple[str, ...], table: Path, run: InProcess
) -> None:
    file = table.parent / name
    file.write_bytes(b"PK")
    options = [table if each == "people.csv" else each for each in groups]
    done = run(file, "--by", "gender", *options)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert remedy in done.stderr


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ({"a": 15, "b": 15}, "g: a and b 50.0 % each; every group has fewer than 30 records"),
        ({"a": 60, "b": 20, "c": 20}, "g: most a 60.0 %, least b and c 20.0 % each; 2 of 3 groups"),
        ({"a": 40, "b": 60}, "g: most b 60.0 %, least a 40.0 %."),
        (dict.fromkeys("abcde", 40), "g: 5 groups with 20.0 % each."),
    ],
)
def test_the_verdict_names_ties_and_groups_with_few_records(
    counts: dict[str, int], verdict: str, tmp_path: Path, run: InProcess
) -> None:
    rows = [f"{group}{n}.jpg,{group}" for group, count in counts.items() for n in range(count)]
    table, page = tmp_path / "t.csv", tmp_path / "p.html"
    table.write_text("\n".join(["id,g", *rows]) + "\n")
    done = run(table, "--by", "g", "--html", page)
    assert done.returncode == 0, done.stderr
    text = page.read_text().replace("\u00a0", " ")
    assert verdict in text
    check_page(text, "t.csv")
    small = {group: count for group, count in counts.items() if count < 30}
    assert ("Groups with fewer than 30 records" in text) == bool(small)
    assert ("values with fewer than 30 records; what such a combination" in done.stderr) == bool(
        small
    )
    for group, count in small.items():
        assert re.search(rf"^  g {group} +{count}$", done.stderr, re.MULTILINE)


def test_adjusted_differences_have_a_heading_for_every_column(
    table: Path, tmp_path: Path, run: InProcess
) -> None:
    page = tmp_path / "p.html"
    first, *rows = table.read_text().split()
    wide = tmp_path / "wide.csv"
    lines = [f"{row},{'xy'[n // 7 % 2]}" for n, row in enumerate(rows)]
    wide.write_text("\n".join([f"{first},tone", *lines]) + "\n")
    done = run(wide, "--by", "gender,tone", "--label", "job", "--html", page, "-q")
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert "Rate of a group minus that of its reference" in text
    assert ">once adjusted</th>" in text
    check_page(text, "wide.csv")
