"""The commands that are compared, each as a user would type it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from benchmarks import deface_boxes, environments
from benchmarks.boxes import Answer, Detection
from benchmarks.environments import Environment
from benchmarks.processes import BenchError, Usage, measure
from curate.core.entries import Outcome
from curate.core.geometry import Box
from curate.manifest.store import iter_entries

WORKERS = 2
_WITHHELD = 3  # the exit code of `curate blur` where it is done but withheld images


class Tool(Protocol):
    """A command line that hides faces, in one environment."""

    @property
    def environment(self) -> Environment:
        """Where it is installed."""
        ...

    @property
    def name(self) -> str:
        """For the tables."""
        ...

    def run(self, source: Path) -> Usage:
        """Obfuscate every photo of a folder in a fresh process and throw the outputs away.

        Raises:
            BenchError: if it fails or does not write every photo.
        """
        ...

    def find(self, source: Path) -> dict[str, Answer]:
        """Its boxes for every photo, by path below ``source``.

        Raises:
            BenchError: if it fails.
        """
        ...


@dataclass(frozen=True, slots=True)
class Curate:
    """``curate blur`` with a profile."""

    profile: str
    environment: Environment
    workers: int = WORKERS
    revision: str = ""
    device: str = "cpu"

    @property
    def name(self) -> str:
        """For the tables."""
        return f"curate {self.profile}" + (f" at {self.revision}" if self.revision else "")

    def run(self, source: Path) -> Usage:
        """See `Tool.run`."""
        with self._blurred(source) as (usage, out):
            _expect(_count(source), _count(out / "data"), self.name)
            return usage

    def find(self, source: Path) -> dict[str, Answer]:
        """See `Tool.find`; the boxes are read from the manifest."""
        with self._blurred(source) as (_, out):
            entries = list(iter_entries(out / "manifest" / "records"))
        written = [entry for entry in entries if entry.outcome is Outcome.WRITTEN]
        _expect(_count(source), len(written), self.name)
        return {
            entry.id: Answer(
                tuple(Detection(face.box, face.confidence or 0.0) for face in entry.faces),
                entry.hidden,
            )
            for entry in written
        }

    @contextmanager
    def _blurred(self, source: Path) -> Iterator[tuple[Usage, Path]]:
        with TemporaryDirectory(prefix="curate-bench-") as folder:
            out = Path(folder) / "out"
            command = [
                self.environment.program("curate"), "blur", str(source), str(out),
                "--profile", self.profile, "--workers", str(self.workers), "--device",
                self.device, "--quiet",
            ]  # fmt: skip
            yield measure(command, accept=(0, _WITHHELD)), out


@dataclass(frozen=True, slots=True)
class Deface:
    """``deface`` at its defaults, on one of its backends."""

    backend: str
    environment: Environment

    @property
    def name(self) -> str:
        """For the tables."""
        return f"deface ({_BACKENDS[self.backend]})"

    def run(self, source: Path) -> Usage:
        """See `Tool.run`; the photos are copied first, as it writes beside its inputs."""
        with TemporaryDirectory(prefix="curate-bench-") as folder:
            place = Path(folder) / "photos"
            shutil.copytree(source, place)
            count = _count(place)
            command = [self.environment.program("deface"), str(place), "--backend", self.backend]
            usage = measure(command)
            _expect(count, _count(place) - count, self.name)
            return usage

    def find(self, source: Path) -> dict[str, Answer]:
        """See `Tool.find`; the boxes come from its library, see `deface_boxes`."""
        with TemporaryDirectory(prefix="curate-bench-") as folder:
            path = Path(folder) / "boxes.json"
            command = [
                self.environment.program("python"), str(Path(deface_boxes.__file__)),
                str(source), self.backend, str(path),
            ]  # fmt: skip
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                said = done.stderr.strip().splitlines() or ["nothing"]
                raise BenchError(f"{self.name} ended with {done.returncode}: {said[-1]}")
            answers = json.loads(path.read_text(encoding="utf-8"))
        return {
            file: Answer(
                tuple(Detection(Box(*values[:4]), values[4]) for values in answer["detections"]),
                tuple(Box(*values) for values in answer["hidden"]),
            )
            for file, answer in answers.items()
        }


_BACKENDS = {"opencv": "OpenCV", "onnxrt": "ONNX Runtime"}


def defaces() -> list[Deface]:
    """Both backends of deface; the first is what plain ``pip install deface`` runs."""
    return [Deface(backend, environments.deface()) for backend in _BACKENDS]


def curates(*profiles: str, against: str | None = None) -> list[Curate]:
    """``curate blur`` with some profiles, as installed by default.

    Args:
        profiles: their names.
        against: an earlier revision; each profile of it comes before that of today.
    """
    today = [Curate(profile, environments.default_install()) for profile in profiles]
    if against is None:
        return today
    before = environments.revision(against)
    return [
        tool
        for new in today
        for tool in (replace(new, environment=before, revision=before.name), new)
    ]


def _count(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if path.is_file())


def _expect(wanted: int, got: int, name: str) -> None:
    if got != wanted:
        raise BenchError(f"{name} wrote {got} of {wanted} photos")
