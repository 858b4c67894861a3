"""The example before and after: NASA's portrait of Eileen Collins, never a photo of the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.core.errors import SetupError
from curate.obfuscators.apply import obfuscate

NAME = "before_after.jpg"
FACE = (182.0, 60.0, 270.0, 191.0)
"""The face in the picture, x0, y0, x1, y1 in pixels."""
_SIDE = 360
_TOLERANCE = 3.0


@cache
def _portrait() -> npt.NDArray[np.uint8]:
    from PIL import Image

    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise SetupError("scikit-image is not installed; install curate-dataset again")
    with Image.open(Path(spec.origin).parent / "data" / "astronaut.png") as image:
        return np.asarray(image.convert("RGB"))[:448, :448].copy()


def draw_example(obfuscator: Mapping[str, Any]) -> bytes:
    """The picture before and after, side by side, as JPEG.

    Args:
        obfuscator: of ``run.json``: name, parameters and margin.
    """
    import cv2

    before = _portrait()
    after = obfuscate(
        before,
        [FACE],
        method=obfuscator["name"],
        margin=obfuscator["margin"],
        **obfuscator["parameters"],
    )
    both = np.concatenate([before[:_SIDE, 40 : 40 + _SIDE], after[:_SIDE, 40 : 40 + _SIDE]], axis=1)
    done, data = cv2.imencode(".jpg", both[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise SetupError("the example picture could not be encoded")
    return bytes(data.tobytes())


def is_example(data: bytes, obfuscator: Mapping[str, Any]) -> bool:
    """Whether a file is the example, as any version of the libraries would draw it."""
    import cv2

    expected = draw_example(obfuscator)
    if data == expected:
        return True
    if len(data) > 4 * len(expected):
        return False
    images = [
        cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) for one in (data, expected)
    ]
    found, wanted = images
    if found is None or wanted is None or found.shape != wanted.shape:
        return False
    return bool(np.abs(found.astype(int) - wanted).mean() < _TOLERANCE)
