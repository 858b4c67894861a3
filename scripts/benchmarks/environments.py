"""The environments that the tools run in, each made once below .cache/bench."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.processes import BenchError

ROOT = Path(__file__).resolve().parents[2]
_FOLDER = ROOT / ".cache" / "bench"
_TOLD = ("curate-dataset", "deface", "numpy", "opencv-python", "torch", "onnxruntime")

# deface with the versions that `pip install deface` brought when this was written. Its
# OpenCV backend is what plain pip gives; with onnx and onnxruntime beside it `auto` takes
# those. OpenCV 4.11 to 4.14 would do it wrong: where photos differ in size its scores run
# away, and it sees 920 faces where OpenCV 5 and ONNX Runtime see 33 (120 photos of animals).
_DEFACE = (
    "deface==1.5.0", "numpy==2.4.6", "opencv-python==5.0.0.93", "onnx==1.23.2",
    "onnxruntime==1.32.0",
)  # fmt: skip
_DEFAULT = ("--constraint", str(ROOT / "constraints.txt"), "--editable", str(ROOT))


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment.

    Args:
        name: for the tables.
        folder: where it is.
    """

    name: str
    folder: Path

    def program(self, name: str) -> str:
        """The path of a program in it."""
        return str(self.folder / "bin" / name)

    def versions(self) -> dict[str, str]:
        """Versions of the packages that matter, where installed."""
        code = (
            "import importlib.metadata as m, json, sys\n"
            "have = {d.name.lower(): d.version for d in m.distributions()}\n"
            "print(json.dumps({n: have[n] for n in sys.argv[1:] if n in have}))"
        )
        command = [self.program("python"), "-c", code, *_TOLD]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return dict(json.loads(done.stdout))

    def has(self, package: str) -> bool:
        """Whether a distribution is installed in it."""
        return package in self.versions()


@cache
def deface() -> Environment:
    """The environment of deface by itself, with both of its backends."""
    return _make("deface", _DEFACE, "")


@cache
def default_install() -> Environment:
    """What ``pip install`` of this project brings, at the versions of constraints.txt."""
    wanted = "".join(
        (ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "constraints.txt")
    )
    return _make("default install", _DEFAULT, wanted)


@cache
def revision(name: str) -> Environment:
    """This project as it was at a revision, at the versions of its own constraints.txt.

    Args:
        name: whatever git resolves to a commit.

    Raises:
        BenchError: if there is no such commit, or it cannot be installed.
    """
    commit = _git("rev-parse", "--short", "--verify", "--quiet", f"{name}^{{commit}}").strip()
    source = _FOLDER / f"source-{commit}"
    if not source.is_dir():
        archive = source.with_suffix(".tar")
        source.parent.mkdir(parents=True, exist_ok=True)
        _git("archive", "--output", str(archive), commit)
        part = source.with_suffix(".part")
        with tarfile.open(archive) as opened:
            opened.extractall(part, filter="data")
        archive.unlink()
        part.rename(source)
    return _make(commit, ("--constraint", str(source / "constraints.txt"), str(source)), "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"git {arguments[0]} failed; is {arguments[-1]!r} a commit of this clone?")
    return done.stdout


def _make(name: str, wanted: tuple[str, ...], also: str) -> Environment:
    """An environment with some packages; made anew if what is wanted has changed."""
    environment = Environment(name, _FOLDER / name.replace(" ", "-"))
    stamp, text = environment.folder / "made-of", "\n".join((sys.version, *wanted, also))
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == text:
        return environment
    print(f"Installing {environment.folder}; this happens once.", file=sys.stderr)
    pip = [environment.program("python"), "-m", "pip", "install", "--quiet"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(environment.folder)],
        [*pip, "--disable-pip-version-check", *wanted],
    ):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
            raise BenchError(f"the environment {name!r} cannot be made: {said[-1]}")
    stamp.write_text(text, encoding="utf-8")
    return environment
