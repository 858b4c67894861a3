"""On a CUDA device: the same faces as on the processor, the same bytes in every run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import curate
from curate.core.errors import SetupError
from curate.core.geometry import iou
from curate.core.protocols import Pixels
from curate.detectors import DetectorOptions, make_detector
from tests.conftest import run_process
from tests.detectors.pictures import astronaut, crowd, packaged

WORDNET_IDS = ("n02123045", "n04350905")  # tabby, suit
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def pictures() -> list[Pixels]:
    """Photos with one face, without any, with twelve, and one at camera resolution."""
    return [
        astronaut(),
        packaged("chelsea.png"),
        crowd(4, 3),
        astronaut()[:300, :400],
        np.tile(astronaut(), (2, 3, 1)),
    ]


def save_classes(folder: Path, count: int = 40) -> Path:
    """A folder of two classes, each photo cut at another place."""
    shown = pictures()
    for number in range(count):
        pixels = shown[number % len(shown)][number:, number:]
        path = folder / ("train" if number % 3 else "val") / "ab"[number % 2] / f"{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=92)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classes(tmp_path_factory.mktemp("cuda") / "photos")


@pytest.mark.parametrize(
    "options",
    [
        {"name": "centerface"},
        {"name": "mtcnn"},
        {"profile": "fast"},
        {"profile": "balanced"},
        {"profile": "thorough"},
    ],
    ids=lambda options: "-".join(options.values()),
)
def test_a_detector_finds_the_same_faces_on_both_devices(options: dict[str, str]) -> None:
    on_cpu = make_detector(DetectorOptions(**options, device="cpu"))
    on_cuda = make_detector(DetectorOptions(**options, device="cuda"))
    images = pictures()
    together = on_cuda.detect_batch(images)
    for image, batched in zip(images, together, strict=True):
        cpu, alone = on_cpu.detect(image), on_cuda.detect(image)
        assert len(cpu) == len(alone) == len(batched)
        for face in alone:
            assert max(iou(face.box, other.box) for other in cpu) > 0.8
            assert max(iou(face.box, other.box) for other in batched) > 0.98


def run(*arguments: str | Path) -> None:
    done = run_process(*arguments)
    assert done.returncode == 0, done.stderr


def blur(source: Path, out: Path, *options: str) -> None:
    run("blur", source, out, "--device", "cuda", "--quiet", *options)


def digests(out: Path) -> dict[str, str]:
    entries = curate.load_manifest(out).entries()
    return {entry.id: str(entry.output_sha256) for entry in entries}


def test_runs_on_the_device_write_equal_files_whatever_the_workers(
    source: Path, tmp_path: Path
) -> None:
    blur(source, tmp_path / "one", "--workers", "1")
    blur(source, tmp_path / "two", "--workers", "3", "--shard-size", "7")
    blur(source, tmp_path / "default")
    assert digests(tmp_path / "one") == digests(tmp_path / "default")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    facts = json.loads((tmp_path / "one/manifest/run.json").read_text())
    assert facts["recipe"]["device"] == "cuda"
    assert "cuda" in json.dumps(facts["detectors"])
    run("verify", tmp_path / "one", "--source", source)


def test_the_device_is_chosen_where_there_is_one(source: Path, tmp_path: Path) -> None:
    curate.blur(source, tmp_path / "out", quiet=True)
    facts = json.loads((tmp_path / "out/manifest/run.json").read_text())
    assert facts["recipe"]["device"] == "cuda"


@pytest.fixture
def no_memory() -> Iterator[None]:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.usefixtures("no_memory")
def test_a_device_without_memory_ends_the_run_and_withholds_nothing(
    source: Path, tmp_path: Path
) -> None:
    with pytest.raises(SetupError, match="--device cpu"):
        curate.blur(
            source,
            tmp_path / "out",
            curate.Recipe(device="cuda"),
            curate.Session(workers=1),
            quiet=True,
        )
    assert not (tmp_path / "out/manifest").exists()


def test_networks_are_trained_and_tested_on_the_device(source: Path, tmp_path: Path) -> None:
    blur(source, tmp_path / "out")
    reports = []
    for number in range(2):
        path = tmp_path / f"{number}.json"
        options = ["--epochs", "2", "--size", "32", "--seeds", "1", "--device", "cuda", "--quiet"]
        run("impact", "train", source, tmp_path / "out", *options, "-o", path)
        reports.append(json.loads(path.read_text()))
    assert reports[0]["cells"] == reports[1]["cells"]


def test_a_classifier_scores_alike_on_both_devices(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    blur(source, tmp_path / "out")
    labels = tmp_path / "labels.csv"
    files = sorted(path.relative_to(source) for path in source.rglob("*.jpg"))
    rows = [f"{path},{WORDNET_IDS[number % 2]}" for number, path in enumerate(files)]
    labels.write_text("\n".join(["id,label", *rows]))
    top5 = {}
    for device in ("cpu", "cuda"):
        path = tmp_path / f"{device}.json"
        options = ["--model", "imagenet", "--labels", str(labels), "--device", device, "--quiet"]
        run("impact", "evaluate", source, tmp_path / "out", *options, "-o", path)
        top5[device] = json.loads(path.read_text())["top5"]
    assert top5["cpu"]["original"] == pytest.approx(top5["cuda"]["original"], abs=0.03)
