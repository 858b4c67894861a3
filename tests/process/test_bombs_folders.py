"""Hostile folders, pipes and devices, read by commands in a real process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    for ending in ("onnx", "pt"):
        (tmp_path / f"large.{ending}").touch()
        os.truncate(tmp_path / f"large.{ending}", 20 << 30)
    commands = {
        "large": [
            "blur in out --detector yunet:large.onnx",
            "blur in out --detector torchscript:large.pt",
            "impact evaluate in in --model onnx:large.onnx -o r.json",
            "impact evaluate in in --model torchscript:large.pt -o r.json",
        ],
        "device": [command.format("/dev/zero") for command in INPUTS[::2]],
        "pipe": [command.format("pipe.csv") for command in INPUTS[1::2]],
        "json": [command.format("pipe.json") for command in INPUTS[:2]],
        "parquet": [command.format("pipe.parquet") for command in INPUTS[:2]],
    }
    ends = run_all(tmp_path, commands)
    assert ends["large"].count(" GB, which is too large") == 4
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


WORK: dict[str, tuple[str, str]] = {
    "deep": ("state.json", "[" * 5_000_000),
    "long": ("state.json", json.dumps({"recipe": {}, "recipe_sha256": "A" * 1_000_000,
                                       "libraries": {}, "plan_sha256": ""})),
    "digits": ("models.json", "9" * 1_000_000),
    "owner": ("leases/setup.0/owner", "A" * 1_000_000),
    "state_pipe": ("state.json", ""),
    "plan_pipe": ("plan.jsonl", ""),
    "faces_pipe": ("faces.sqlite", ""),
    "log_pipe": ("log.jsonl", ""),
}  # fmt: skip


def test_work_folders_are_not_trusted(tmp_path: Path) -> None:
    save_image(tmp_path / "in/a.jpg")
    (tmp_path / "faces.json").write_text('[{"file": "a.jpg", "faces": []}]')
    for name, (path, text) in WORK.items():
        file = tmp_path / name / ".curate" / path
        file.parent.mkdir(parents=True)
        file.write_text(text) if text else os.mkfifo(file)
    (tmp_path / "review").mkdir()
    os.mkfifo(tmp_path / "review/journal.jsonl")
    options = "--faces faces.json --method mosaic --workers 1"
    commands = {name: [f"blur in {name} {options}"] for name in WORK}
    commands["review"] = ["review in --faces faces.json --folder review --no-browser"]
    ends = run_all(tmp_path, commands)
    read = {name for name, end in ends.items() if end.startswith("0 ")}
    assert read == {"digits", "owner"}  # of runs that note them anew
    for name, end in ends.items():
        assert name in read or end[:10] in ("1 curate: ", "2 curate: "), (name, end)


def transform(name: str, **values: Any) -> dict[str, Any]:
    return {"__class_fullname__": name, "p": 1.0, **values}


def nested(depth: int) -> dict[str, Any]:
    inner = transform("HorizontalFlip")
    for _ in range(depth):
        inner = transform("Compose", transforms=[inner])
    return inner


AUGMENTATIONS: dict[str, Callable[[], object]] = {
    "nested": lambda: nested(40),
    "many": lambda: transform("Compose", transforms=[transform("HorizontalFlip")] * 5000),
    "large": lambda: transform("PadIfNeeded", min_height=100_000, min_width=100_000),
    "kernel": lambda: transform("MedianBlur", blur_limit=[99_999, 99_999]),
    "scale": lambda: transform("Affine", scale=[300, 300], fit_output=True),
    "count": lambda: transform("RandomGravel", number_of_patches=10**8),
    "nan": lambda: transform("Affine", scale=[float("nan"), 1.0]),
}


def test_augmentations_are_bounded(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        save_image(tmp_path / f"in/{name}.jpg")
    (tmp_path / "g.csv").write_text("id,g\na.jpg,m\nb.jpg,f\nc.jpg,m\n")
    options = "--visible-faces --by g --groups g.csv --strategy augment"
    commands = {}
    for name, make in AUGMENTATIONS.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"transform": make()}))
        commands[name] = [f"balance in {options} --augmentation {name}.json -o out-{name}"]
    for name, end in run_all(tmp_path, commands).items():
        assert end.startswith("2 curate: the augmentation "), (name, end)
