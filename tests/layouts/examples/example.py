"""What a layout brings to the contract suite: a small dataset, its oracle, and ways to break it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from curate import codec
from curate.codec.png.chunks import deflate, header_for, write_png
from tests.codec.samples import photo

Damage = Callable[[Path], None]


@dataclass(frozen=True)
class Example:
    """A small dataset in one layout.

    Args:
        layout: the registered name.
        build: writes it into an empty folder, with `jpeg` and `png` as images.
        splits: every record's id, with its split.
        copied: paths of the files that the layout lists as annotations or documents.
        foreign: those of them that `curate blur` leaves out.
        load: what the field's own reader makes of a folder, as comparable values.
        broken: by name, damage that makes images unreadable, and the expected error.
        malformed: by name, damage to annotations, and the expected note or, if strict, error.
        odd: by name, what makes a dataset odd and what the note must match.
        crowd: writes a dataset with that many annotations of one image.
        named: whether ``auto`` tells this layout by something of its own.
        rows: annotations in `columns`, by record id.
        columns: columns of annotations to read.
        aliases: other names of records, with their ids.
    """

    layout: str
    build: Callable[[Path], None]
    splits: Mapping[str, str | None]
    copied: frozenset[str]
    load: Callable[[Path], Any]
    broken: Mapping[str, tuple[Damage, str]] = field(default_factory=dict)
    malformed: Mapping[str, tuple[Damage, str]] = field(default_factory=dict)
    odd: Mapping[str, tuple[Damage, str]] = field(default_factory=dict)
    crowd: Callable[[Path, int], None] | None = None
    named: bool = True
    rows: Mapping[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    columns: tuple[str, ...] = ("category",)
    aliases: frozenset[tuple[str, str]] = frozenset()
    foreign: frozenset[str] = frozenset()

    @property
    def written(self) -> frozenset[str]:
        """Paths of the files beside the images that `curate blur` writes."""
        return self.copied - self.foreign


def jpeg(seed: int) -> bytes:
    """A JPEG with nothing around its pixels, as the codec leaves one that it copies."""
    import cv2

    done, data = cv2.imencode(".jpg", photo(48, 40, 3, seed))
    assert done
    return codec.save(codec.load(data.tobytes()), None, []).data


def png(seed: int) -> bytes:
    """A PNG as the codec itself encodes it, so that encoding it anew gives the same bytes."""
    pixels = photo(40, 32, 3, seed)
    return write_png([(b"IHDR", header_for(pixels).to_bytes()), (b"IDAT", deflate(pixels))])


def indexed_png(indices: np.ndarray[Any, Any], palette: np.ndarray[Any, Any]) -> bytes:
    """A palette PNG with all 256 colors, as VOC's are."""
    import io

    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette(palette.tobytes())
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def rgb_png(pixels: np.ndarray[Any, Any]) -> bytes:
    """An RGB PNG of uint8 pixels, H×W×3."""
    return write_png([(b"IHDR", header_for(pixels).to_bytes()), (b"IDAT", deflate(pixels))])


def write(root: Path, name: str, content: bytes | str) -> None:
    """Write one file of a dataset, with its folders."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def replace(name: str, old: str, new: str) -> Damage:
    """Damage that edits one file; what it replaces must be there."""

    def damage(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))

    return damage


def cut(name: str, share: float = 0.6) -> Damage:
    """Damage that cuts the end of one file off."""

    def damage(root: Path) -> None:
        data = (root / name).read_bytes()
        (root / name).write_bytes(data[: int(len(data) * share)])

    return damage


def remove(name: str) -> Damage:
    """Damage that removes one file."""
    return lambda root: (root / name).unlink()


def add(name: str, content: bytes | str) -> Damage:
    """Damage that adds one file."""
    return lambda root: write(root, name, content)


def accept_maps(*_: str) -> None:
    """Accept every label map: the search for faces in them has tests of its own."""


def load_examples() -> dict[str, Example]:
    """The example of each layout, by its name."""
    names = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    modules = [importlib.import_module(f"tests.layouts.examples.{name}") for name in names]
    found = [module.EXAMPLE for module in modules if hasattr(module, "EXAMPLE")]
    return {example.layout: example for example in found}
