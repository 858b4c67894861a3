from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from PIL import Image

import curate
from curate.cli import main
from curate.cli.main import group
from curate.core.errors import DataError
from tests.conftest import CURATE, InProcess, run_process


def one_line(text: str) -> str:
    assert len(text.strip().splitlines()) == 1, text
    return text


@pytest.fixture(scope="module")
def out(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "out"
    done = run_process("blur", photos, out, "--profile", "fast", "--json")
    assert done.returncode == 3, done.stderr
    summary = json.loads(done.stdout)
    assert summary["version"] == 1
    assert summary["images"] == summary["written"] + summary["withheld"]
    assert summary["reasons"] == {"truncated": 1}
    return out


def test_a_finished_run_is_reported_with_the_same_exit_code(
    photos: Path, out: Path, in_process: InProcess
) -> None:
    again = in_process("blur", photos, out, "--profile", "fast")
    assert again.returncode == 3
    assert "finished before" in again.stderr
    assert again.stdout == ""


def test_verify_ends_with_its_verdict_and_what_is_covered(
    photos: Path, out: Path, in_process: InProcess
) -> None:
    done = in_process("verify", out, "--source", photos)
    assert done.returncode == 0
    assert done.stdout == ""
    verdict, covered, *_, signed = done.stderr.splitlines()
    assert "is what its manifest says" in verdict
    assert covered.startswith("Covered: ")
    assert signed.startswith("Not signed: ")


def test_verify_names_what_differs(
    photos: Path, out: Path, tmp_path: Path, in_process: InProcess
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    (copy / "data/val/coffee/coffee.jpg").unlink()
    done = in_process("verify", copy)
    assert done.returncode == 1
    assert "missing: data/val/coffee/coffee.jpg" in done.stdout
    as_json = in_process("verify", copy, "--json")
    problem, result = map(json.loads, as_json.stdout.splitlines())
    assert problem["kind"] == "missing"
    assert (result["ok"], result["counts"]) == (False, {"missing": 1})


def test_a_dry_run_writes_nothing_and_estimates(
    photos: Path, tmp_path: Path, in_process: InProcess
) -> None:
    done = in_process("blur", photos, tmp_path / "out", "--profile", "fast", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["images"] == 12
    assert report["sample"]["withheld"] == 1
    assert report["estimated_seconds"] > 0
    assert not (tmp_path / "out").exists()
    shown = in_process("blur", photos, tmp_path / "out", "--profile", "fast", "--dry-run")
    assert "Nothing was written" in shown.stdout


def test_a_recipe_file_is_overridden_by_the_command_line(
    photos: Path, tmp_path: Path, in_process: InProcess
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'profile = "fast"\nmethod = "mosaic"\nshard-size = 5\n[method_options]\ncells = 3\n'
    )
    arguments = ["--recipe", str(recipe), "--method-option", "cells=2", "--dry-run", "--json"]
    done = in_process("blur", photos, tmp_path / "out", *arguments)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)["recipe"]
    assert said["method"] == "mosaic"
    assert said["method_options"] == {"cells": 2}
    assert said["shard_size"] == 5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["blur", "nowhere", "out"], 1, "does not exist"),
        (["blur", "photos"], 2, "missing argument"),
        (["blur", "photos", "nothing://b/out"], 2, "OUT 'nothing://b/out' has an unknown"),
        (["blur", "s3://me:pass@bucket/photos", "out"], 2, "s3:// URI of SOURCE contains a user"),
        (["blur", "nothing://photos", "out"], 2, "'nothing://photos' has an unknown protocol"),
        (["detect", "photos", "-o", "s3://bucket/t"], 2, "only SOURCE can be a URI"),
        (["blur", "photos", "photos/out"], 2, "inside SOURCE"),
        (["blur", "photos", "out", "--method", "smudge"], 2, "unknown method 'smudge'"),
        (["blur", "photos", "out", "--method-option", "n"], 2, "KEY=VALUE"),
        (["blur", "photos", "out", "--method-option", "n=1"], 2, "n"),
        (["blur", "photos", "out", "--detector", "eyes"], 2, "unknown detector 'eyes'"),
        (["blur", "photos", "out", "--detector", "yunet:nofile.onnx"], 1, "nofile.onnx"),
        (["blur", "photos", "out", "--confidence", "2"], 2, "confidence"),
        (["blur", "photos", "out", "--margin", "-1"], 2, "margin"),
        (["blur", "photos", "out", "--margin", "nan"], 2, "margin"),
        (["blur", "photos", "out", "--max-side", "3"], 2, "max-side"),
        (["blur", "photos", "out", "--shard-size", "0"], 2, "shard-size"),
        (["blur", "photos", "out", "--keep-metadata", "soul"], 2, "soul"),
        (["blur", "photos", "out", "--recipe", "no.toml"], 1, "no.toml"),
        (["blur", "photos", "out", "--faces", "no.json"], 1, "no.json"),
        (["blur", "photos", "out", "--detector", "centerface:a.onnx"], 1, "a.onnx"),
        (["blur", "photos", "out", "--detector", "centerface:photos/a.png"], 2, "takes no file"),
        (["blur", "photos", "out", "--detector", ":"], 2, "NAME:FILE"),
        (["blur", "photos", "out", "--faces", "photos"], 1, "is not a supported face-box file"),
        (["detect", "photos"], 2, "--output"),
        (["detect", "photos", "-o", "photos/out"], 2, "inside SOURCE"),
        (["detect", "photos", "-o", "out", "--export", "pdf"], 2, "pdf"),
        (["blur", "photos", "out", "--shard-size", "1" + 30 * "0"], 2, "shard-size"),
        (["blur", "photos", "out", "--workers", "0"], 2, "--workers"),
        (["blur", "", "out"], 2, "path is empty"),
        (["blur", "photos", ""], 2, "path is empty"),
        (["verify", "nowhere"], 1, "does not exist"),
        (["smudge"], 2, "no such command 'smudge'"),
        (["blurr"], 2, "no such command 'blurr'; did you mean 'blur'? See curate --help"),
        (["impact", "evalute"], 2, "did you mean 'evaluate'? See curate impact --help"),
        (["manifest", "shwo"], 2, "did you mean 'show'? See curate manifest --help"),
        (["blur", ".", "x", "--methd", "fill"], 2, "did you mean '--method'?"),
        (["blur", ".", "x", "--profile", "thorogh"], 2, "did you mean 'thorough'?"),
        (["balance"], 2, "choose from: reweigh, subset,"),
        (["blru", "photos", "out"], 2, "'blur'"),
        (["blur", "photos", "out", "--metod", "fill"], 2, "--method"),
        (["manifest", "shwo", "out"], 2, "'show'"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_writes_nothing(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    in_process: InProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "photos/a.png")
    monkeypatch.chdir(tmp_path)
    done = in_process(*arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('method_options = "abc"', "method_options"),
        ("margin = 'a'", "margin"),
        ("margin = inf", "margin"),
        ("max_pixels = 1e9", "max_pixels"),
        ("max_pixels = inf", "max_pixels"),
        ("seed = 'x'", "seed"),
        ("seed = -1", "seed"),
        ("shard_size = 1.5", "shard_size"),
        ("detector = 5", "detector"),
        ("device = 5", "device"),
        ("keep_metadata = 'gps'", "keep_metadata"),
        ("[profile]\na = 1", "profile"),
        ("faces = 'a.json'", "unknown recipe key 'faces'"),
    ],
)
def test_a_recipe_with_wrong_values_is_one_clear_line(
    content: str, message: str, photos: Path, tmp_path: Path, in_process: InProcess
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(content + "\n")
    option = ["--method-option", "color=#000000"] if "method_options" in content else []
    done = in_process("blur", photos, tmp_path / "out", "--recipe", recipe, *option)
    assert done.returncode == 2, done.stderr
    assert message in one_line(done.stderr)


def test_a_result_that_cannot_be_written_is_one_clear_line(photos: Path, out: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*CURATE, "blur", photos, out, "--profile", "fast", "--json"],
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert "No space left" in one_line(done.stderr)


@pytest.mark.parametrize("command", [("--version",), ("blur", "--help")])
def test_a_closed_stdout_is_an_error_if_something_is_written_to_it(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *CURATE]
    done = subprocess.run([*closed, *command], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "the result cannot be written: Bad file descriptor" in one_line(done.stderr)


def test_a_closed_stdout_stops_nothing_that_writes_nothing_to_it(
    photos: Path, tmp_path: Path
) -> None:
    page = tmp_path / "audit.json"
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&-', "sh", *CURATE,
         "audit", photos, "--by", "category", "-q", "-o", page],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(page.read_text())


@pytest.mark.parametrize(
    "command",
    [
        ("blur", "OUT"), ("blur", "OUT", "--dry-run"), ("detect", "-o", "OUT"), ("plan",),
        ("duplicates",), ("audit", "--by", "category"), ("audit", "--by", "age", "--groups", "CSV"),
        ("balance", "--by", "category", "--strategy", "subset", "--list-only", "-o", "OUT"),
        ("evaluate", "--faces", "LABELS"),
    ],
)  # fmt: skip
def test_a_folder_without_images_is_one_clear_line(
    command: tuple[str, ...], tmp_path: Path, in_process: InProcess
) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    (source / "notes.txt").write_text("none yet\n")
    (tmp_path / "labels.json").write_text('[{"file": "a.jpg", "faces": []}]')
    (tmp_path / "ages.csv").write_text("id,age\na.jpg,3\n")
    paths = {"OUT": "out.parquet", "LABELS": "labels.json", "CSV": "ages.csv"}
    name, *rest = (str(tmp_path / paths[each]) if each in paths else each for each in command)
    done = in_process(name, source, *rest)
    assert done.returncode == 1
    assert "SOURCE has no images" in one_line(done.stderr.splitlines()[-1])
    assert not done.stdout
    assert not (tmp_path / "out.parquet").exists()


def test_a_closed_stderr_stops_nothing(photos: Path, tmp_path: Path) -> None:
    command = [*CURATE, "blur", str(photos), str(tmp_path / "out"), "--profile", "fast", "--json"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *command], stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 3
    assert json.loads(done.stdout)["written"] > 0
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *CURATE, "blur", "nowhere", str(tmp_path / "o")]
    )
    assert done.returncode == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_locale_without_utf_8_is_told_in_one_line(
    out: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    done = run_process("manifest", "diff", out, out)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "not UTF-8" in line]
    assert len(lines) == (encoding != "utf-8")


@pytest.mark.parametrize(
    "arguments", [["blur", "photos", "out"], ["audit", "photos", "--by", "a"], ["verify", "out"]]
)
def test_a_file_system_without_utf_8_ends_every_command_with_the_remedy(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("LC_ALL", "C"), ("PYTHONUTF8", "0"), ("PYTHONCOERCECLOCALE", "0")):
        monkeypatch.setenv(name, value)
    done = run_process(*arguments)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.endswith("set PYTHONUTF8=1 and run the same command again")


@pytest.mark.parametrize(
    "arguments",
    [
        ["blur", "~/photos", "out"],
        ["blur", "photos", "~/out"],
        ["audit", "photos", "--by", "a", "--groups", "~/people.csv"],
        ["pull", "owner/name", "~/copy"],
    ],
)
def test_a_home_folder_that_the_shell_did_not_expand_is_named(
    arguments: list[str], in_process: InProcess
) -> None:
    done = in_process(*arguments)
    assert done.returncode == 2
    assert "the shell did not expand '~' of ~/" in done.stderr


def test_an_option_given_as_a_command_is_suggested(in_process: InProcess) -> None:
    for name in ("version", "help"):
        assert f"did you mean 'curate --{name}'?" in in_process(name).stderr


def test_the_time_of_a_job_includes_that_to_start(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("blur", "balance"):
        clock = SimpleNamespace(time=lambda: 1030.5)
        monkeypatch.setattr(importlib.import_module(f"curate.cli.{name}"), "time", clock)
    blur = ["blur", str(photos), str(tmp_path / "out"), "--profile", "fast", "--workers", "1"]
    done = CliRunner().invoke(group, [*blur, "--json"], obj=1000.0)
    assert json.loads(done.stdout)["seconds"] == 30.5
    done = CliRunner().invoke(group, [*blur, "--json"], obj=1000.0)
    assert json.loads(done.stdout)["seconds"] < 30.5, "nothing was done again"
    (tmp_path / "people.csv").write_text("id,group\n1,a\n2,b\n3,b\n")
    balance = ["balance", "--groups", str(tmp_path / "people.csv"), "--by", "group"]
    balance += ["--strategy", "subset", "-o", str(tmp_path / "even")]
    assert "in 30.5 s" in CliRunner().invoke(group, balance, obj=1000.0).stderr


@pytest.mark.parametrize(
    ("image", "path", "content", "beside"),
    [
        ("a.png", "a.json", '{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [', {}),
        ("a.png", "metadata.jsonl", '{"file_name": "a.png"}\n{"file_name":\n', {}),
        ("JPEGImages/a.png", "Annotations/a.xml", "<annotation><filename>a.png", {}),
        (
            "images/train/a.png",
            "labels/train/a.txt",
            "\x89PNG",
            {"data.yaml": "train: images/train\nnames: [x]\n"},
        ),
    ],
)
def test_an_annotation_that_cannot_be_read_is_told_once(
    image: str, path: str, content: str, beside: dict[str, str], tmp_path: Path
) -> None:
    source = tmp_path / "source"
    for name in (image, path, *beside):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40)).save(source / image)
    (source / path).write_bytes(content.encode("latin-1"))
    for name, text in beside.items():
        (source / name).write_text(text)
    done = CliRunner().invoke(group, ["blur", str(source), str(tmp_path / "out")])
    assert isinstance(done.exception, DataError)
    told = [*done.stderr.splitlines(), str(done.exception)]
    named = [line for line in told if path in line and not line.startswith("SOURCE is")]
    assert named == [str(done.exception)]
    assert str(done.exception).count("\n") == 0


@pytest.mark.parametrize(("images", "maps"), [(0, 0), (1, 0), (0, 1)])
def test_a_redone_output_with_withheld_files_exits_with_3(
    images: int, maps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"carried": 0, "left_out": maps, "included": 0, "withheld": maps}
    summary = curate.Summary(
        out="out", images=1, written=1 - images, withheld=images, images_with_faces=0, faces=0,
        routes={}, reasons={}, others=counts, left_out=(), hints=(),
        content={"found": {}, "dropped": {}}, seconds=1.0, images_now=1, already_done=False,
        recipe_sha256="", records_sha256="",
    )  # fmt: skip
    monkeypatch.setattr("curate.review.export.redo_reviewed", lambda *_: summary)
    done = CliRunner().invoke(group, ["review", "redo", str(tmp_path), str(tmp_path), "out"])
    assert done.exit_code == (3 if images or maps else 0), done.output


@pytest.mark.parametrize(
    ("arguments", "continues"),
    [
        (["blur", "photos", "out"], True),
        (["detect", "photos", "-o", "faces.parquet"], True),
        (["impact", "train", "photos", "out"], True),
        (["review", "redo", "faces.review", "photos", "out"], True),
        (["blur", "photos", "out", "--dry-run"], False),
        (["balance", "photos", "--strategy", "split", "-o", "split.csv"], False),
        (["plan", "photos"], False),
        (["duplicates", "photos"], False),
        (["audit", "photos"], False),
        (["impact", "explain", "photos", "out"], False),
        (["blur", "split", "out"], True),
        (["balance", "split", "--strategy", "subset", "-o", "out"], True),
        (["balance", "photos", "--strategy=split", "-o", "split.csv"], False),
        (["detect", "--explain=photos/one.jpg", "-o", "why.html"], False),
        (["detect", "--explain", "photos/one.jpg", "-o", "why.html"], False),
        (["impact", "evaluate", "photos", "out"], False),
        (["impact", "evaluate", "photos", "out", "-o", "impact.json"], True),
        (["impact", "evaluate", "photos", "out", "--output=impact.json"], True),
        (["impact", "evaluate", "photos", "out", "--predictions", "kept"], True),
    ],
)
def test_an_interrupt_tells_what_the_same_command_does(
    arguments: list[str],
    continues: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main.group, "main", stop)
    monkeypatch.setattr("sys.argv", ["curate", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 130
    assert ("again to continue" in capsys.readouterr().err) is continues


def test_ray_without_its_package_is_refused_before_anything_is_printed(
    monkeypatch: pytest.MonkeyPatch, photos: Path, tmp_path: Path, in_process: InProcess
) -> None:
    monkeypatch.setattr("curate.pipeline.session.find_spec", lambda _: None)
    for arguments in (("blur", photos, tmp_path / "out"), ("plan", photos)):
        done = in_process(*arguments, "--engine", "ray")
        assert done.returncode == 1
        assert "pip install 'curate-dataset[ray]'" in one_line(done.stderr)


@pytest.mark.parametrize("name", ["blur", "audit", "duplicates", "plan"])
def test_a_folder_that_is_missing_does_not_exist(
    name: str, tmp_path: Path, in_process: InProcess
) -> None:
    (tmp_path / "photos").mkdir()
    more = {"blur": [tmp_path / "out"], "audit": ["--by", "gender"]}.get(name, [])
    done = in_process(name, tmp_path / "photoz", *more)
    assert done.returncode == 1
    assert "photoz' does not exist; did you mean 'photos'?" in one_line(done.stderr)


def test_a_finished_output_has_one_exit_code_in_every_way_of_running(
    photos: Path, out: Path, in_process: InProcess
) -> None:
    for more in ((), ("--shards", "1/3"), ("--finish",)):
        done = in_process("blur", photos, out, "--profile", "fast", *more)
        assert done.returncode == 3, more


@pytest.mark.parametrize("module", ["curate.cli.main", "click", "curate.core.errors", "numpy"])
def test_an_interrupt_while_modules_are_imported_is_one_line(module: str) -> None:
    code = f"""
import sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
sys.argv = ["curate", "verify", "nowhere"]
from curate.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr.lstrip().startswith("curate: interrupted; run the ")
    assert done.stderr.strip().count("\n") == 0
