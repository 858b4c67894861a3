from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import curate
from curate import Recipe, Session
from curate.core.geometry import covered, to_stored
from curate.manifest.store import iter_entries

TO_STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.fixture(scope="module")
def turned(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One photo under the eight orientations, as PNG (exact) and as JPEG."""
    folder = tmp_path_factory.mktemp("turned")
    with Image.open(photos / "train/people/group.png") as group:
        upright = group.convert("RGB")
    for orientation, turn in TO_STORED.items():
        stored = upright if turn is None else upright.transpose(turn)
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored.save(folder / f"{orientation}.png", exif=exif)
        stored.save(folder / f"{orientation}.jpg", exif=exif, quality=95)
        # Turned by a program that left the orientation: upright for viewers that ignore EXIF.
        upright.save(folder / f"left-{orientation}.webp", exif=exif, lossless=True)
    return folder


def test_faces_are_found_as_exif_turns_a_photo_and_as_it_is_stored(
    turned: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    curate.blur(turned, out, Recipe(profile="fast"), Session(workers=1))
    found = {entry.id: entry for entry in iter_entries(out / "manifest/records")}
    faces = [face.box for face in found["1.png"].faces]
    assert len(faces) == 3
    for orientation in TO_STORED:
        exact, lossy = found[f"{orientation}.png"], found[f"{orientation}.jpg"]
        assert exact.orientation == lossy.orientation == orientation
        assert exact.width is not None
        assert exact.height is not None
        mapped = [to_stored(box, orientation, exact.width, exact.height) for box in faces]
        left = found[f"left-{orientation}.webp"]
        assert left.orientation == orientation
        for entry, boxes, least in (
            (exact, mapped, 1 - 1e-6),
            (lossy, mapped, 0.85),  # each JPEG is another lossy picture
            (left, faces, 1 - 1e-6),
        ):
            for box in boxes:
                assert max(covered(box, face.box) for face in entry.faces) >= least


def test_an_output_keeps_the_orientation_of_its_source(turned: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    curate.blur(turned, out, Recipe(profile="fast"), Session(workers=1))
    for orientation in TO_STORED:
        for suffix in ("png", "jpg"):
            with Image.open(out / "data" / f"{orientation}.{suffix}") as image:
                assert image.getexif().get(0x0112, 1) == orientation
