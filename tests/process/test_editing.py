"""Real photos through albumentations and COCO's annotations, and memory with many of them."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate import codec
from curate.balance.correct.augmentation import PRESETS, make_augmentation
from curate.layouts import open_source
from curate.layouts.editing import GeneratedImage, name_copy
from tests.codec.samples import encoded
from tests.layouts.editing.outputs import Plan, edit
from tests.layouts.examples.example import jpeg, write

MEMORY_MB = 60


def augment(root: Path, preset: str, every: int) -> tuple[Plan, dict[str, bytes]]:
    """Make an image of every so many."""
    source, augmentation = open_source(str(root), "coco"), make_augmentation(preset)
    made: dict[str, list[GeneratedImage]] = {}
    files: dict[str, bytes] = {}
    for number, record in enumerate(source.records()):
        if number % every:
            continue
        picture = codec.load(source.read(record))
        image = codec.upright_rgb(picture)
        result = augmentation.apply(image, number)
        name = name_copy(source, record, 1, codec.suffix_of_rgb(picture.format))
        files[name] = codec.encode_rgb(result.image, picture.format)
        height, width = image.shape[:2]
        made[record.id] = [GeneratedImage(name, result.affine, width, height, picture.orientation)]
    return Plan(made=made), files


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize("preset", PRESETS)
def test_real_annotations_fit_the_images_made(
    shared_data: Path, tmp_path: Path, preset: str
) -> None:
    from pycocotools.coco import COCO

    root, out = tmp_path / "source", tmp_path / "out"
    whole = json.loads((shared_data / "coco/instances.json").read_text())
    for path in sorted((shared_data / "coco").rglob("*.jpg")):
        write(root, path.name, path.read_bytes())
    write(root, "instances.json", json.dumps(whole))
    plan, files = augment(root, preset, 2)
    edit(root, out, plan, files, "coco")
    assert list(open_source(str(out), "coco").check()) == list(open_source(str(root)).check())
    with contextlib.redirect_stdout(io.StringIO()):
        before, after = COCO(str(root / "instances.json")), COCO(str(out / "instances.json"))
    by_name = {image["file_name"]: image for image in after.loadImgs(after.getImgIds())}
    compared = 0
    for source_id, (made,) in plan.made.items():
        old, new = by_name[source_id], by_name[made.id]
        masks = [before.annToMask(a) for a in before.loadAnns(before.getAnnIds(imgIds=old["id"]))]
        warped = [made.affine.mask(mask) for mask in masks]
        labels = after.loadAnns(after.getAnnIds(imgIds=new["id"]))
        for label in labels:
            seen = after.annToMask(label)
            shared = max((int((seen & mask).sum()) for mask in warped), default=0)
            if seen.sum() > 400:
                assert shared > 0.9 * seen.sum(), (source_id, label["id"])
                compared += 1
    assert compared > 50


def test_a_turned_photo_keeps_its_boxes_on_what_they_show(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.full((60, 90, 3), 200, np.uint8)
    pixels[10:30, 20:50] = (220, 20, 20)
    for orientation in range(1, 9):
        root, out = tmp_path / f"s{orientation}", tmp_path / f"o{orientation}"
        exif = Image.Exif()
        exif[0x0112] = orientation
        photo = encoded(Image.fromarray(pixels), "JPEG", quality=95, exif=exif)
        write(root, "a.jpg", photo)
        labels = [{"id": 1, "image_id": 1, "bbox": [20, 10, 30, 20]}]
        image = {"id": 1, "file_name": "a.jpg", "width": 90, "height": 60}
        write(root, "x.json", json.dumps({"images": [image], "annotations": labels}))
        plan, files = augment(root, "flip", 1)
        edit(root, out, plan, files, "coco")
        found = json.loads((out / "x.json").read_text())
        x, y, wide, high = (round(value) for value in found["annotations"][1]["bbox"])
        made = codec.load((out / "a_aug1.jpg").read_bytes())
        assert (made.width, made.height) == (
            found["images"][1]["width"],
            found["images"][1]["height"],
        )
        red = made.frames[0][..., 1] < 120
        rows, columns = np.nonzero(red)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        np.testing.assert_allclose(edges, (x, y, x + wide, y + high), atol=1)


CODE = """
import io, resource, sys, time
from curate.core.affine import Affine
from curate.layouts import open_source
from curate.layouts.editing import GeneratedImage, open_editor
class Plan:
    def is_kept(self, name): return name != "b.jpg"
    def generated_from(self, name):
        flip = Affine(((-1.0, 0.0, 48.0), (0.0, 1.0, 0.0)), 48, 40)
        return [GeneratedImage("a_aug1.jpg", flip, 48, 40)] if name == "a.jpg" else []
source = open_source(sys.argv[1], "coco")
editor = open_editor(source, Plan())
with open(sys.argv[2], "w+b") as target:
    print(*[editor.edit(other, target).outcome for other in source.sidecars()])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_many_annotations_need_no_more_memory(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        root = tmp_path / str(count)
        for seed, name in enumerate("abc"):
            write(root, f"{name}.jpg", jpeg(seed))
        images = [{"id": n, "file_name": f"{name}.jpg"} for n, name in enumerate("abc")]
        with (root / "x.json").open("w") as file:
            file.write(f'{{"images": {json.dumps(images)}, "annotations": [')
            for number in range(count):
                label: dict[str, Any] = {"id": number, "image_id": number % 3, "bbox": [1, 2, 3, 4]}
                file.write(("," if number else "") + json.dumps(label))
            file.write("]}")
        done = subprocess.run(
            [sys.executable, "-c", CODE, str(root), str(tmp_path / "out.json")],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        outcome, memory = done.stdout.split()
        assert outcome == "edited"
        found = json.loads((tmp_path / "out.json").read_text())
        assert len(found["annotations"]) == count - count // 3 + (count + 2) // 3
        return int(memory)

    assert peak(300_000) < peak(600) + MEMORY_MB
