from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate import codec
from curate.codec import CodecOptions
from curate.core.entries import ManifestEntry, Outcome
from curate.core.faces import Face
from curate.core.geometry import Box
from curate.layouts.access.folder import LocalFolder
from curate.layouts.imagefolder import ImageFolder
from curate.manifest.store import digest_bytes
from curate.obfuscators import make
from curate.pipeline.compare import Comparison, compare
from curate.pipeline.image import Tools, hide, share_hidden

OBFUSCATOR = make("diffuse", {})
OPTIONS = CodecOptions()
TOOLS = Tools(detector=None, given=None, obfuscator=OBFUSCATOR, margin=0.1, options=OPTIONS)
A, B = Face(Box(8, 8, 24, 24)), Face(Box(36, 16, 52, 40))
FRAMES = [[], [A, B], [A]]
FORMATS = {
    "GIF": {"duration": 50},
    "PNG": {"default_image": False},
    "TIFF": {},
    "WEBP": {"lossless": True},
}


def animation(kind: str) -> bytes:
    noise = np.random.default_rng(7).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    first, *rest = (Image.fromarray(frame) for frame in noise)
    file = io.BytesIO()
    first.save(file, kind, save_all=True, append_images=rest, **FORMATS[kind])
    return file.getvalue()


def write(data: bytes, faces: Sequence[Sequence[Face]], folder: Path) -> ManifestEntry:
    """Obfuscate one image into ``folder/out``; returns its entry."""
    (folder / "source").mkdir(exist_ok=True)
    (folder / "out/data").mkdir(parents=True, exist_ok=True)
    (folder / "source/a.png").write_bytes(data)
    picture = codec.load(data, OPTIONS)
    made = hide(picture, faces, TOOLS)
    (folder / "out/data/a.png").write_bytes(made.data)
    return ManifestEntry(
        id="a",
        split=None,
        category=None,
        source_path="a.png",
        source_sha256=digest_bytes(data),
        source_bytes=len(data),
        width=picture.width,
        height=picture.height,
        mode=picture.mode,
        orientation=picture.orientation,
        outcome=Outcome.WRITTEN,
        route=made.route,
        faces=made.faces,
        hidden=tuple(region.hidden for region in made.regions),
        blurred_share=made.blurred_share,
        output_path="a.png",
        output_sha256=digest_bytes(made.data),
        output_bytes=len(made.data),
        pixels_sha256=codec.digest_pixels(codec.load(made.data, OPTIONS)),
    )


def details(entry: ManifestEntry, folder: Path, forged: bool = True) -> list[str]:
    """What the comparison says; whoever changed an output would forge its digest as well."""
    if forged:
        pixels = codec.digest_pixels(codec.load((folder / "out/data/a.png").read_bytes(), OPTIONS))
        entry = replace(entry, pixels_sha256=pixels)
    source = ImageFolder(LocalFolder(folder / "source"))
    data = folder / "out/data"
    comparison = Comparison(source, lambda path: (data / path).read_bytes(), OBFUSCATOR, OPTIONS)
    return [problem.detail for problem in compare(entry, comparison)]


@pytest.mark.parametrize("kind", FORMATS)
def test_an_animation_with_faces_in_some_frames_verifies(kind: str, tmp_path: Path) -> None:
    entry = write(animation(kind), FRAMES, tmp_path)
    assert [(face.box, face.frames) for face in entry.faces] == [(A.box, (1, 2)), (B.box, (1,))]
    assert details(entry, tmp_path) == []


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_every_frame_of_a_face_must_hide_it(kind: str, tmp_path: Path) -> None:
    entry = write(animation(kind), FRAMES, tmp_path)
    write(animation(kind), [[A], [A, B], []], tmp_path)
    found = details(entry, tmp_path)
    assert len(found) == 2
    assert found[0] == "pixels outside the masks differ from the source in frame 0"
    assert found[1].startswith("region ")
    assert found[1].endswith("still shows the source in frame 2")


def test_a_face_that_a_frame_lost_from_the_manifest_is_reported(tmp_path: Path) -> None:
    entry = write(animation("PNG"), FRAMES, tmp_path)
    a, b = entry.faces
    forged = replace(entry, faces=(replace(a, frames=(1,)), b))
    [detail] = details(forged, tmp_path)
    assert detail == "pixels outside the masks differ from the source in frame 2"


def test_a_frame_that_is_not_there_is_reported(tmp_path: Path) -> None:
    entry = write(animation("PNG"), FRAMES, tmp_path)
    a, b = entry.faces
    forged = replace(entry, faces=(replace(a, frames=(1, 2, 3)), b))
    assert details(forged, tmp_path) == ["a face is in frame 3, but there are 3 frames"]


def test_a_region_outside_a_later_frame_is_reported(tmp_path: Path) -> None:
    entry = write(animation("PNG"), FRAMES, tmp_path)
    hidden = (entry.hidden[0], Box(34, 13, 90, 43))
    forged = replace(entry, hidden=hidden, blurred_share=share_hidden(hidden, 64, 48))
    assert details(forged, tmp_path) == [
        "region (34, 13, 90, 43) is not inside the image in frame 1"
    ]


def test_a_page_larger_than_the_first_is_compared_in_its_own_size(tmp_path: Path) -> None:
    noise = np.random.default_rng(7).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    small, large = Image.fromarray(noise[:48, :64]), Image.fromarray(noise)
    file = io.BytesIO()
    small.save(file, "TIFF", save_all=True, append_images=[large])
    entry = write(file.getvalue(), [[A], [Face(Box(70, 50, 90, 75))]], tmp_path)
    assert details(entry, tmp_path) == []
    (tmp_path / "out/data/a.png").write_bytes(file.getvalue())
    assert len(details(entry, tmp_path)) == 2


def test_facts_about_the_image_are_compared(tmp_path: Path) -> None:
    entry = write(animation("PNG"), FRAMES, tmp_path)
    assert "size, mode" in details(replace(entry, width=65), tmp_path)[0]
    assert "blurred_share" in details(replace(entry, blurred_share=0.0), tmp_path)[0]


def test_an_output_that_breaks_the_decoder_is_a_problem_without_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = write(animation("PNG"), FRAMES, tmp_path)

    def load(data: bytes, options: CodecOptions) -> None:
        raise IndexError("a bug")

    monkeypatch.setattr(codec, "load", load)
    assert details(entry, tmp_path, forged=False) == ["cannot be compared (IndexError)"]


def test_pixels_that_are_not_those_of_the_manifest_are_reported(tmp_path: Path) -> None:
    entry = replace(write(animation("PNG"), FRAMES, tmp_path), pixels_sha256="0" * 64)
    assert details(entry, tmp_path, forged=False) == ["its pixels differ from the manifest"]
