"""Hostile folders, pipes and devices, read by commands in a real process."""

from __future__ import annotations

import os
from pathlib import Path

from tests.process.test_bombs import read_all, save_image

RUN = """
import contextlib, io, os, sys
from pathlib import Path
from curate.cli.main import main

given = Path(sys.argv[1])
os.chdir(given.parent)
for line in Path("commands").read_text().splitlines():
    name, _, command = line.partition(" ")
    sys.argv[1:] = command.split()
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(open(os.devnull, "w")):
            main()
    except SystemExit as end:
        lines = [x for x in errors.getvalue().splitlines() if x.startswith("curate: ")]
        print(name, f"{end.code} {'; '.join(lines)}", sep="\\t")
"""


def run_all(folder: Path, commands: dict[str, list[str]]) -> dict[str, str]:
    """Run commands in one process; returns the exit code and the line of each."""
    lines = [f"{name} {command}" for name, each in commands.items() for command in each]
    (folder / "commands").write_text("\n".join(lines))
    found = read_all(RUN, folder / "in")
    assert found.keys() == commands.keys()
    ends = {}
    for name, texts in found.items():
        for text in texts:
            assert "internal error" not in text, (name, text)
        ends[name] = "\n".join(sorted(texts))
    return ends


def test_folders_of_any_depth_and_links_of_any_number_end_in_one_line(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("in", "deep", "links", "labels", "loop")}
    for folder in folders.values():
        save_image(folder / "a.jpg")
    for name in ("deep", "labels"):
        folders[name].joinpath(*["d"] * 400).mkdir(parents=True)
    for number in range(30):  # 2^30 paths
        inner = folders["links"] / f"d{number}"
        inner.mkdir()
        for name in ("a", "b"):
            (inner / name).symlink_to(f"../d{number + 1}")
    (folders["links"] / "d30").mkdir()
    for number in range(20):
        (folders["loop"] / f"l{number}").symlink_to(".")
    (folders["labels"] / "images.txt").write_text("a.jpg\n")
    sources = ("deep", "links", "loop")
    commands = {
        name: [
            f"blur {name} out", f"blur {name} out --follow-links", f"audit {name} --by category",
            f"duplicates {name}",
        ]
        for name in sources
    }  # fmt: skip
    ends = run_all(tmp_path, commands | {"labels": ["blur in out --faces labels"]})
    assert all(line.startswith("1 curate: ") for end in ends.values() for line in end.split("\n"))
    assert "deeper than 100 levels" in ends["deep"]
    assert "more than 100 lead" in ends["links"]
    assert "forms a loop" in ends["loop"]


INPUTS = (
    *("audit in --by x --groups {0}", "audit in --by x --target {0}", "audit merge {0} {0}"),
    *("audit labels in --judgments {0}", "audit labels {0} --judgments in/a.jpg", "audit {0}"),
    *("balance in --by x --strategy subset -o out --groups {0}", "blur {0} out"),
    *("balance in --by category --strategy split -o out.csv --duplicates {0}",),
    *("blur in out --faces {0}", "blur in out --recipe {0}", "blur in out --detector onnx:{0}"),
    *("blur in out --detector torchscript:{0}", "blur in out --detector yunet:{0}"),
    *("blur in out --sign {0}", "evaluate in --faces {0}", "evaluate in --detections {0}"),
    *("duplicates in --faces {0}", "impact predictions {0} {0}", "replay in {0} out"),
    *("impact evaluate in in --model onnx:{0} -o r.json", "manifest show {0}"),
    *("impact evaluate in in --model torchscript:{0} -o r.json", "manifest diff {0} {0}"),
    *("impact explain in in --model onnx:{0} --classes {0} --ids {0} -o r.json", "card {0}"),
    *("impact train in in --labels {0} -o r.json", "push {0} a/b --dry-run", "verify {0}"),
)


def test_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    save_image(tmp_path / "in/a.jpg")
    for ending in ("csv", "json", "parquet"):
        os.mkfifo(tmp_path / f"pipe.{ending}")
    commands = {
        "device": [command.format("/dev/zero") for command in INPUTS],
        "pipe": [command.format("pipe.csv") for command in INPUTS],
        "json": [command.format("pipe.json") for command in INPUTS[:4]],
        "parquet": [command.format("pipe.parquet") for command in INPUTS[:4]],
    }
    ends = run_all(tmp_path, commands)
    for end in ends.values():
        assert all(line[:10] in ("1 curate: ", "2 curate: ") for line in end.split("\n")), end


def test_long_texts_of_annotations_are_not_parsed(tmp_path: Path) -> None:
    """Time grew with the square of the length."""
    texts = {"text": '"' + "a" * 20_000_000 + '"', "number": "9" * 30_000_000}
    for name, text in texts.items():
        save_image(tmp_path / name / "a.jpg")
        item = f'{{"id": 1, "file_name": "a.jpg", "x": {text}}}'
        (tmp_path / name / "a.json").write_text(f'{{"images": [{item}], "annotations": []}}')
    save_image(tmp_path / "in/a.jpg")
    commands = {name: [f"blur {name} out-{name}", f"audit {name} --by category"] for name in texts}
    ends = run_all(tmp_path, commands)
    for end in ends.values():
        assert "a text longer than 16 MB" in end
