"""``obfuscate``: hide faces in one NumPy image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.core.arguments import checked
from curate.core.entries import Scalar
from curate.core.errors import UsageError
from curate.core.faces import Detection, Face
from curate.core.geometry import Box
from curate.core.protocols import Frame
from curate.obfuscators import make
from curate.obfuscators.masks import default_margin, region

FaceLike = Face | Detection | Box | Sequence[float]
"""A face, a detection, a box, or ``(x0, y0, x1, y1)`` in pixels, half-open."""


@checked
def obfuscate(
    image: Frame,
    faces: Sequence[FaceLike] | npt.NDArray[Any],
    method: str = "diffuse",
    margin: float | None = None,
    **options: Scalar,
) -> Frame:
    """Return a copy of an image with faces hidden.

    Args:
        image: H×W or H×W×C with 1–4 channels, uint8 or uint16; color channels in RGB(A)
            order.
        faces: :class:`Face`, :class:`Detection`, :class:`Box` or ``(x0, y0, x1, y1)`` in
            pixels of the image; or an N×4 array.
        method: a registered obfuscation method: ``diffuse``, ``fill``, ``mosaic``,
            ``gaussian`` or ``imagenet``.
        margin: growth of each face on every side, as a share of its longer side; None
            for the method's default (0.15; 0.1 for ``imagenet``).
        options: the method's options.

    Raises:
        UsageError: if the method, an option, the margin or a face is invalid.
        DataError: if a box is not finite or has its corners reversed.
        WithheldError: if the image's type is not supported, or a face lies outside it.

    Example:
        >>> import numpy as np
        >>> image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
        >>> hidden = obfuscate(image, [(20, 20, 40, 40)], method="fill", color="0")
        >>> int(hidden[30, 30].max())
        0
    """
    if not isinstance(image, np.ndarray):
        raise UsageError(f"the image is a {type(image).__name__}; give a NumPy array")
    if image.ndim not in (2, 3):
        raise UsageError(f"the image has {image.ndim} dimensions; give H×W or H×W×C")
    obfuscator = make(method, options)
    share = default_margin(method) if margin is None else margin
    if isinstance(share, bool) or not isinstance(share, Real) or not 0 <= float(share) <= 2:
        raise UsageError(f"margin cannot be {margin!r}; give a number from 0 to 2")
    if isinstance(faces, str) or not isinstance(faces, (Iterable, np.ndarray)):
        raise UsageError(f"faces cannot be {faces!r}; give a list, empty if there is none")
    height, width = image.shape[:2]
    regions = [region(_box(face), float(share), width, height) for face in faces]
    return obfuscator.apply(image, regions)


def _box(face: FaceLike | npt.NDArray[Any]) -> Box:
    if isinstance(face, (Face, Detection)):
        return face.box
    if isinstance(face, Box):
        return face
    try:
        if isinstance(face, (str, bytes)):
            raise TypeError
        x0, y0, x1, y1 = (float(value) for value in face)
    except (TypeError, ValueError):
        raise UsageError(
            f"face {face!r} cannot be read; give a Face, a Box or (x0, y0, x1, y1)"
        ) from None
    return Box(x0, y0, x1, y1)
