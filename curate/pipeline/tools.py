"""Open what a recipe names: the detector, the obfuscator, the faces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from curate import detectors, obfuscators
from curate.core.errors import DataError
from curate.core.ports import Detector, Obfuscator
from curate.detectors import DetectorOptions
from curate.formats.codec import CodecOptions
from curate.manifest.store import digest_file
from curate.obfuscators import masks
from curate.pipeline.given import FaceIndex
from curate.pipeline.image import Tools
from curate.pipeline.session import Session
from curate.recipe import Recipe


def open_detector(recipe: Recipe, weights: Path | None) -> Detector:
    """Open the recipe's detector, with the weights file that the user brought, if any."""
    return detectors.make(detector_options(recipe, weights))


def open_obfuscator(recipe: Recipe) -> Obfuscator:
    """The recipe's obfuscator.

    Raises:
        UsageError: if its name or an option is unknown.
    """
    return obfuscators.make(recipe.method, dict(recipe.method_options))


def detector_options(recipe: Recipe, weights: Path | None) -> DetectorOptions:
    """The recipe's choices about detection."""
    return DetectorOptions(
        name=recipe.detector,
        profile=recipe.profile,
        confidence=recipe.confidence,
        max_side=recipe.max_side,
        device=recipe.device,
        weights=weights,
    )


def pin_files(recipe: Recipe, session: Session) -> Recipe:
    """The recipe with the digests of the files that the user brought.

    Raises:
        DataError: if such a file cannot be read.
    """
    return replace(
        recipe,
        faces_sha256=_digest(session.faces),
        weights_sha256=_digest(session.weights),
    )


def _digest(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return digest_file(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def check_recipe(recipe: Recipe) -> None:
    """Refuse what can be seen to be wrong before any work is begun or any model loaded.

    Raises:
        UsageError: if a name or an option is unknown.
        MissingExtraError: if a package that a name needs is not installed.
    """
    open_obfuscator(recipe)
    codec_options(recipe)
    if recipe.faces_sha256 is None:
        detectors.DETECTORS.check(detector_options(recipe, None).detector)


def codec_options(recipe: Recipe) -> CodecOptions:
    """The recipe's limits and metadata, for the codec."""
    return CodecOptions(max_pixels=recipe.max_pixels, keep_metadata=frozenset(recipe.keep_metadata))


def open_tools(recipe: Recipe, faces: Path | None, weights: Path | None) -> Tools:
    """Open what a recipe names, in the process that will use it.

    Args:
        recipe: what to do.
        faces: an index made by ``save_face_index``, or None to detect.
        weights: a weights file that the user brought, or None.

    Raises:
        UsageError: if a name or an option is unknown.
        SetupError: if a package, weights or a device is missing.
    """
    return Tools(
        detector=None if faces else open_detector(recipe, weights),
        given=FaceIndex(faces) if faces else None,
        obfuscator=open_obfuscator(recipe),
        margin=margin_of(recipe),
        options=codec_options(recipe),
    )


def margin_of(recipe: Recipe) -> float:
    """The recipe's margin, or its method's own."""
    if recipe.margin is not None:
        return recipe.margin
    return masks.default_margin(recipe.method)
