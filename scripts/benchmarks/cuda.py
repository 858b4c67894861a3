"""The section on a CUDA device: photos per second, agreement with the processor, evaluation."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import photos
from benchmarks.boxes import Answer, match_photo, summarize
from benchmarks.environments import ROOT, Environment
from benchmarks.plan import Plan
from benchmarks.processes import BenchError, Usage, measure
from benchmarks.tables import Report, format_share, share_figures
from benchmarks.tools import Curate
from curate.core.geometry import iou
from curate.detectors.device import choose_device
from curate.pipeline.session import count_cores

_METHOD = """\
Whole `curate blur` commands in fresh processes on {cores} cores and {gpu}, on the \
photos of `imagenet`, each many times, one run each. *Once started* leaves the start-up out: the \
time of the same command on {few} files is taken off. *GPU* is the memory in use on the device \
(`nvidia-smi`, twice a second). *Hidden* and *precision* on `wider` as in *Faces hidden, found \
and invented*; *partner* is the share of the processor's boxes for which the GPU has a box with \
an IoU of at least 0.5, and the reverse: on the processor `balanced` uses 8-bit integers, on the \
GPU floating point. `curate impact evaluate` runs the packaged classifier on the same files and \
on their obfuscated copies, with both control arms."""

_HERE = Environment("this checkout", ROOT / ".venv")
_MANY, _FEWER, _FEW = 2_000, 600, 64  # files; fewer where one takes longer
_EVALUATED = 500
_SAME = 0.5


@dataclass(frozen=True, slots=True)
class Setting:
    """A profile on a device with some workers; None for the default number."""

    profile: str
    device: str
    workers: int | None = None
    files: int = _MANY


@dataclass(slots=True)
class _Memory:
    """Highest memory in use on the first device, MiB."""

    peak: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        command = [
            "nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"
        ]  # fmt: skip
        while not self.stop.wait(0.5):
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode == 0:
                self.peak = max(self.peak, float(done.stdout.split()[0]))


def cuda(plan: Plan) -> Report:
    """Photos per second and faces found on a CUDA device and on the processor.

    Raises:
        BenchError: if there is no such device.
    """
    if choose_device("auto") != "cuda":
        raise BenchError("the section cuda needs a CUDA device, and torch sees none")
    import torch

    cores, gpu = count_cores(), torch.cuda.get_device_name(0)
    report = Report("On a CUDA device", _METHOD.format(cores=cores, gpu=f"one {gpu}", few=_FEW))
    report.figures.append({"gpu": gpu, "cores": cores, "torch": torch.__version__})
    settings = [
        Setting("balanced", "cpu"),
        Setting("balanced", "cuda", 1, _FEWER),
        Setting("balanced", "cuda", 4),
        Setting("balanced", "cuda"),
        Setting("thorough", "cpu", files=_FEWER),
        Setting("thorough", "cuda", files=_FEWER),
    ]
    if plan.quick:
        settings = [replace(setting, files=2 * _FEW) for setting in settings]
    with TemporaryDirectory(prefix="curate-bench-") as folder:
        work = Path(folder)
        _time(settings, plan, work, report)
        _compare(plan, work, report)
        _evaluate(plan, work, report)
    return report


def _time(settings: Sequence[Setting], plan: Plan, work: Path, report: Report) -> None:
    """Time `curate blur`."""
    found = photos.find(plan.data, "imagenet")
    photos.copy(found, plan.data, work / "kinds")
    kinds = sorted((work / "kinds").iterdir())
    for count in {_FEW, *(setting.files for setting in settings)}:
        photos.multiply(kinds, count, work / str(count))
    rows: list[Sequence[str]] = []
    for setting in settings:
        runs: dict[int, Usage] = {}
        for count in (_FEW, setting.files):
            with _gpu_memory() as memory:
                try:
                    runs[count] = _blur(setting, work / str(count), work / "out")
                except BenchError as error:
                    report.missing.append(f"{setting.profile} on {setting.device}: {error}.")
                    break
            figures = {**asdict(setting), "files": count, "gpu_mb": memory.peak}
            report.figures.append({**figures, **asdict(runs[count])})
        else:
            rows.append(_row(setting, runs, memory.peak))
            print("  " + ", ".join(rows[-1]), file=sys.stderr)
    head = ("profile", "device", "workers", "files", "photos/s", "once started",
            "start-up and few, s", "CPU ms per photo", "together, MB", "GPU, MB")  # fmt: skip
    report.tables.append(("", head, rows))


def _row(setting: Setting, runs: dict[int, Usage], gpu_mb: float) -> Sequence[str]:
    many, long, short = setting.files, runs[setting.files], runs[_FEW]
    started = max(long.seconds - short.seconds, 1e-9)
    return (
        setting.profile, setting.device,
        "default" if setting.workers is None else str(setting.workers), str(many),
        f"{many / long.seconds:.1f}", f"{(many - _FEW) / started:.1f}", f"{short.seconds:.1f}",
        f"{1000 * long.cpu_seconds / many:.0f}", f"{long.together_mb:.0f}",
        f"{gpu_mb:.0f}" if setting.device == "cuda" else "–",
    )  # fmt: skip


def _blur(setting: Setting, source: Path, out: Path) -> Usage:
    command = [
        _HERE.program("python"), "-m", "curate", "blur", str(source), str(out), "--quiet",
        "--profile", setting.profile, "--device", setting.device,
    ]  # fmt: skip
    if setting.workers is not None:
        command += ["--workers", str(setting.workers)]
    try:
        usage = measure(command)  # an image that is withheld would take less time
        written, files = (sum(1 for path in folder.rglob("*.jpg")) for folder in (out, source))
        if written != files:
            raise BenchError(f"{written} of {files} files were written")
        return usage
    finally:
        subprocess.run(["rm", "-rf", str(out)], check=False)


@contextmanager
def _gpu_memory() -> Iterator[_Memory]:
    memory = _Memory()
    thread = threading.Thread(target=memory.run, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        memory.stop.set()
        thread.join()


def _compare(plan: Plan, work: Path, report: Report) -> None:
    """Compare the faces that both devices find on `wider`."""
    labels = plan.few(photos.load_labels(plan.data, "wider"))
    source = work / "wider"
    photos.copy([plan.data / photo.file for photo in labels], plan.data, source)
    rows: list[Sequence[str]] = []
    for profile in ("balanced", "thorough"):
        tool = Curate(profile, _HERE, count_cores())
        answers = {device: replace(tool, device=device).find(source) for device in ("cpu", "cuda")}
        for device, other in (("cpu", "cuda"), ("cuda", "cpu")):
            scores = summarize(
                [
                    match_photo(
                        photo, answers[device][photos.flat_name(plan.data / photo.file, plan.data)]
                    )
                    for photo in labels
                ]
            )
            boxes, partners = _partners(answers[device], answers[other])
            rows.append(
                (profile, device, format_share(scores.hidden), str(boxes),
                 format_share(scores.precision), f"{partners} of {boxes}")
            )  # fmt: skip
            report.figures.append(
                {
                    "profile": profile, "device": device, "boxes": boxes, "partners": partners,
                    "hidden": share_figures(scores.hidden),
                    "precision": share_figures(scores.precision),
                }
            )  # fmt: skip
    head = ("profile", "device", "hidden %", "boxes", "precision %", "partner on the other")
    report.tables.append((f"{len(labels)} photos of `wider`:", head, rows))


def _partners(some: dict[str, Answer], others: dict[str, Answer]) -> tuple[int, int]:
    """How many boxes there are, and how many overlap a box of the other answers."""
    boxes = partners = 0
    for name, answer in some.items():
        theirs = [detection.box for detection in others[name].detections]
        boxes += len(answer.detections)
        partners += sum(
            any(iou(detection.box, box) >= _SAME for box in theirs)
            for detection in answer.detections
        )
    return boxes, partners


def _evaluate(plan: Plan, work: Path, report: Report) -> None:
    """Time `curate impact evaluate`."""
    source, out = work / "classes", work / "obfuscated"
    found = plan.few(photos.find(plan.data, "imagenet"))
    count = len(found) if plan.quick else _EVALUATED
    for number in range(count):
        path = found[number % len(found)]
        target = source / path.relative_to(plan.data / "imagenet").parent / f"{number:05d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    command = [_HERE.program("python"), "-m", "curate"]
    measure([*command, "blur", str(source), str(out), "--quiet"])
    rows: list[Sequence[str]] = []
    for device in ("cpu", "cuda"):
        result = work / f"{device}.json"
        print(f"  impact evaluate on {device}, {count} files", file=sys.stderr)
        try:
            usage = measure(
                [*command, "impact", "evaluate", str(source), str(out), "--device", device,
                 "--quiet", "-o", str(result)]
            )  # fmt: skip
        except BenchError as error:
            report.missing.append(f"impact evaluate on {device}: {error}.")
            continue
        told: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        top1 = {name: told["top1"][name] for name in ("original", "obfuscated")}
        rows.append(
            (device, f"{usage.seconds:.1f}", f"{count / usage.seconds:.1f}",
             *(f"{100 * value:.1f}" for value in top1.values()))
        )  # fmt: skip
        report.figures.append({"evaluate": device, "files": count, **top1, **asdict(usage)})
    head = ("device", "seconds", "photos/s", "top-1 original, %", "top-1 obfuscated, %")
    report.tables.append(("`curate impact evaluate`, whole command:", head, rows))
