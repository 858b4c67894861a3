"""Open what a recipe names: the detector, the obfuscator, the faces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from curate import detectors, obfuscators
from curate.codec import CodecOptions
from curate.core.errors import DataError, UsageError
from curate.core.protocols import Detector, Obfuscator
from curate.detectors import DetectorOptions
from curate.manifest.store import digest_file, digest_folder
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
        family=recipe.detector_family,
        self_test=False,  # `pin_files` has done it, once for all processes
    )


def pin_files(recipe: Recipe, session: Session) -> Recipe:
    """The recipe with the digests of the files that the user brought.

    A provided network is tried on a packaged picture, unless the session skips that.

    Raises:
        UsageError: if the recipe names the digest of another file, or of one that is not given.
        DataError: if such a file cannot be read.
    """
    pinned = replace(
        recipe,
        faces_sha256=_pin("faces", recipe.faces_sha256, session.faces),
        weights_sha256=_pin("weights", recipe.weights_sha256, session.weights),
    )
    if session.weights is not None and session.faces is None and not session.skip_self_test:
        options = detector_options(recipe, session.weights)
        if detectors.DETECTORS.check(options.detector).brings_file:
            detectors.make(replace(options, self_test=True))
    return pinned


def _pin(what: str, wanted: str | None, path: Path | None) -> str | None:
    found = _digest(path)
    if wanted is not None and wanted != found:
        given = f"{path} is {found[:12]}" if found else "no such file is given"
        raise UsageError(
            f"the recipe wants the file of {what} with sha256 {wanted[:12]}…, but {given}; "
            "give that file, or drop the key from the recipe"
        )
    return found


def _digest(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        if path.is_dir():
            return digest_folder(path)
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is neither a file nor a folder; write it to one first")
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
        name = detector_options(recipe, None).detector
        plugin = detectors.DETECTORS.check(name)
        if recipe.weights_sha256 is not None and not plugin.brings_file:
            raise UsageError(f"detector {name!r} takes no file; write --detector {name}")
        if recipe.detector_family is not None and name != "onnx":
            raise UsageError("--detector-family is for --detector onnx:FILE; leave it out")
    elif recipe.weights_sha256 is not None:
        raise UsageError("with --faces no detector runs; drop its weights file")


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
