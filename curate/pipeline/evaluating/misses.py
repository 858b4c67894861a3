"""Pictures of the faces that would not be hidden."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from curate.core.errors import WithheldError
from curate.core.geometry import grow, to_upright
from curate.formats import codec, open_source
from curate.formats.codec.crop import crop_jpeg
from curate.pipeline.evaluating.evaluate import Miss
from curate.report.values import Picture

MOST = 48
"""More pictures than this nobody looks at."""

_CONTEXT, _SIDE = 0.6, 136


def picture_misses(source: str | Path, layout: str, misses: Iterable[Miss]) -> tuple[Picture, ...]:
    """The first misses as small pictures with some of their surroundings.

    Args:
        source: the dataset; only read.
        layout: its layout, or ``auto``.
        misses: the most important first.
    """
    opened = open_source(str(source), layout)
    pictures: list[Picture] = []
    for miss in islice(misses, MOST):
        record = opened.find(miss.id)
        if record is None:
            continue
        try:
            picture = codec.load(opened.read(record))
        except WithheldError:
            continue
        box = to_upright(miss.box, picture.orientation, picture.width, picture.height)
        jpeg = crop_jpeg(codec.upright_rgb(picture), grow(box, _CONTEXT), _SIDE)
        caption = f"{miss.id}: {miss.box.height:.0f} px high, {100 * miss.hidden:.0f} % hidden"
        pictures.append(Picture(jpeg, caption))
    return tuple(pictures)
