"""Finished OUTs with canaries in everything that must never be sent, and their cards."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import curate
from curate.publishing.card.questions import format_template

FACE = (8, 8, 24, 24)
CANARY = b"CANARY-OF-AN-ORIGINAL"
"""In the pixels of every face, in metadata, and in files that stay behind."""

ANSWERS = {
    "title": '"Street scenes"',
    "version": '"1.0.0"',
    "date": "2026-03-01",
    "description": '"Photographs of streets."',
    "license": '"cc-by-4.0"',
    "source": '"Taken by the authors."',
    "url": '"https://example.org/street-scenes"',
    "task_categories": '["image-classification"]',
    "name": '"A. Researcher"',
    "email": '"a@example.org"',
    "intended": '"Training classifiers."',
    "contact": '"removal@example.org"',
    "authors": '["Researcher, A."]',
    "terms": '"I will not try to identify anyone."',
}


def answer(text: str, **values: str) -> str:
    """A ``card.toml`` with these answers; keys by their last part."""
    for key, value in values.items():
        text, count = re.subn(rf"(?m)^(?:# )?{key} = .*$", f"{key} = {value}", text, count=1)
        assert count == 1, key
    return text


def write_answers(out: Path, **values: str) -> None:
    (out / "card.toml").write_text(answer(format_template(), **{**ANSWERS, **values}))


def pixels(number: int) -> np.ndarray[Any, Any]:
    """An image whose face holds the canary in every row."""
    image = np.random.default_rng(number).integers(0, 255, (40, 48, 3), np.uint8)
    text = np.frombuffer((CANARY * 3)[: 16 * 3], np.uint8).reshape(16, 3)
    image[FACE[1] : FACE[3], FACE[0] : FACE[2]] = text[:, ::-1]  # as a BMP stores it
    return image


def write_photos(folder: Path, count: int = 6) -> None:
    """An image folder: two splits, two classes, every image with a face and a canary."""
    images, annotations = [], []
    for number in range(count):
        split = "train" if number % 3 else "test"
        name = f"{split}/{'cat' if number % 2 else 'dog'}/{number:05d}.bmp"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(number)).save(path, "BMP")
        assert CANARY in path.read_bytes()
        images.append({"id": number, "file_name": name, "width": 48, "height": 40})
        x0, y0, x1, y1 = FACE
        annotations.append(
            {"id": number, "image_id": number, "category_id": 1,
             "bbox": [x0, y0, x1 - x0, y1 - y0]}
        )  # fmt: skip
    jpeg = folder / "train/cat/exif.jpg"
    exif = Image.Exif()
    exif[0x010E] = CANARY.decode()
    Image.fromarray(pixels(99)).save(jpeg, "JPEG", exif=exif, comment=CANARY)
    images.append({"id": count, "file_name": "train/cat/exif.jpg", "width": 48, "height": 40})
    cut = folder / "train/cat/cut.jpg"
    cut.write_bytes(jpeg.read_bytes()[:400] + CANARY)
    images.append({"id": count + 1, "file_name": "train/cat/cut.jpg"})
    (folder / "notes.bin").write_bytes(CANARY)
    faces = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "face"}],
    }
    (folder.parent / "faces.json").write_text(json.dumps(faces))


def make_out(folder: Path, count: int = 6, **answers: str) -> Path:
    """A finished OUT with a card; its originals and its sealed manifest are full of canaries."""
    photos = folder / "photos"
    if not photos.exists():
        write_photos(photos, count)
    session = curate.Session(faces=folder / "faces.json", workers=1)
    curate.blur(photos, folder / "out", session=session)
    with (folder / "out/manifest/log.jsonl").open("ab") as log:
        log.write(json.dumps({"host": CANARY.decode()}).encode() + b"\n")
    curate.write_checksums(folder / "out")
    write_answers(folder / "out", **answers)
    curate.write_card(folder / "out")
    return folder / "out"


def published_card(out: Path, repo_id: str) -> bytes:
    """The card of OUT with the name of the repository, which is known when it is published."""
    return (out / "README.md").read_bytes().replace(b"hf:OWNER/NAME", f"hf:{repo_id}".encode())


def sealed_secrets(folder: Path) -> list[bytes]:
    """Everything of the originals and of the sealed manifest that must not be sent."""
    import hashlib

    from curate.manifest import store
    from curate.manifest.publish import load_key

    secrets = [CANARY, CANARY[:12], str(folder).encode()]
    for path in sorted((folder / "photos").rglob("*")):
        if path.is_file() and path.name != "labels.csv":
            secrets.append(hashlib.sha256(path.read_bytes()).hexdigest().encode())
    manifest = folder / "out/manifest"
    if (manifest / store.KEY).exists():
        key = load_key(manifest)
        secrets += [key, key.hex().encode()]
    run = store.load_run(manifest)
    secrets += [
        run["source"]["sha256"].encode(),
        run["records"]["sha256"].encode(),
        run["recipe_sha256"].encode(),
        str(run["recipe"]["faces_sha256"]).encode(),
    ]
    return secrets
