"""Open the detector, the obfuscator and the given faces that a recipe names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from curate import detectors, obfuscators
from curate.codec import CodecOptions
from curate.core.documents import parse_json
from curate.core.errors import DataError, ManifestError, UsageError, describe_malformed
from curate.core.protocols import Detector, Obfuscator
from curate.core.records import escape_unprintable
from curate.detectors import DetectorOptions
from curate.layouts.faces import table
from curate.manifest.faces import INFO, load_faces_info, select_provenance
from curate.manifest.store import (
    digest_bytes,
    digest_file,
    digest_folder,
    digest_parts,
    find_manifest,
    load_run,
)
from curate.obfuscators import masks
from curate.pipeline.given_faces import FaceIndex, find_digests, find_records
from curate.pipeline.image import Tools
from curate.pipeline.inspection import ManifestLimits
from curate.pipeline.session import Session
from curate.recipe import Recipe
from curate.storage.regular import iter_short_lines, open_regular


def load_recipe(run: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a manifest.

    Args:
        run: the content of its ``run.json``.

    Raises:
        ManifestError: if it is not valid.
    """
    try:
        recipe = Recipe.from_dict(run["recipe"])
        open_obfuscator(recipe)
        codec_options(recipe)
    except (UsageError, DataError, TypeError, ValueError, OverflowError) as error:
        why = escape_unprintable(str(error))
        raise ManifestError(f"run.json: recipe cannot be read: {why}") from None
    return recipe


def open_detector(recipe: Recipe, weights: Path | None) -> Detector:
    """Open the recipe's detector, with the user's weights file, if any."""
    return detectors.make_detector(detector_options(recipe, weights))


def open_obfuscator(recipe: Recipe) -> Obfuscator:
    """Return the recipe's obfuscator.

    Raises:
        UsageError: if its name or an option is unknown.
    """
    return obfuscators.make(recipe.method, dict(recipe.method_options))


def detector_options(recipe: Recipe, weights: Path | None) -> DetectorOptions:
    """Return the recipe's options of detection."""
    return DetectorOptions(
        name=recipe.detector,
        profile=recipe.profile,
        confidence=recipe.confidence,
        max_side=recipe.max_side,
        device=recipe.device,
        weights=weights,
        family=recipe.detector_family,
        self_test=False,  # `prepare_recipe` has done it, once for all processes
    )


def prepare_recipe(recipe: Recipe, session: Session) -> Recipe:
    """Return the recipe with the digests of the user's files, checked before any work begins.

    A provided network is tried on a packaged picture, unless the session skips that.

    Raises:
        UsageError: if a name or an option is unknown, or the recipe names the digest of another
            file, or of a file that is not given.
        DataError: if such a file cannot be read.
        MissingExtraError: if a required package is not installed.
    """
    pinned = replace(
        recipe,
        faces_sha256=_pin("faces", recipe.faces_sha256, session.faces),
        weights_sha256=_pin("weights", recipe.weights_sha256, session.weights),
    )
    if session.weights is not None and session.faces is None and not session.skip_self_test:
        options = detector_options(recipe, session.weights)
        if detectors.DETECTORS.check(options.detector).brings_file:
            detectors.make_detector(replace(options, self_test=True))
    check_recipe(pinned)
    return pinned


def _pin(name: str, wanted: str | None, path: Path | None) -> str | None:
    found = _digest(path)
    if wanted is not None and wanted != found:
        given = f"{path} has {found[:12]}" if found else "no such file is given"
        raise UsageError(
            f"the recipe needs the {name} file with sha256 {wanted[:12]}…, but {given}; "
            "give that file, or remove the key from the recipe"
        )
    return found


def _digest(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        records = find_records(path)
        if records is not None:
            return digest_parts(records)
        sidecar = find_digests(path)
        if sidecar is not None:
            digests = f"{_digest_path(path)} {digest_file(sidecar)}"
            return digest_bytes(digests.encode())
        return _digest_path(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _digest_path(path: Path) -> str:
    if path.is_dir():
        return digest_folder(path)
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is neither a file nor a folder; write it to one first")
    return digest_file(path)


def load_provenance(path: Path) -> dict[str, Any]:
    """Load how the faces of a file were found and reviewed, for ``run.json``.

    Args:
        path: as for `load_faces`.

    Returns:
        The keys ``detectors`` and ``given_faces`` of a ``run.json``; both are empty if the file
        records nothing, such as one from another program.

    Raises:
        DataError: if what is recorded is malformed, or over the limits of a manifest's texts.
    """
    info: Mapping[str, Any] | None = None
    sidecar = find_digests(path)
    if find_records(path) is not None:
        info = load_run(find_manifest(path))
    elif path.is_file() and table.recognize(path):
        info = load_faces_info(path)
    elif sidecar is not None:
        info = _load_first_line(sidecar).get(INFO.decode())
    found = select_provenance(info or {}, str(path))
    if ManifestLimits(()).document_record(found) != found:
        raise DataError(
            f"{path} records names of detectors or reviews over the limits of texts; shorten them, "
            "or detect the faces again"
        )
    return found


def _load_first_line(path: Path) -> dict[str, Any]:
    try:
        with open_regular(path, follow_links=True) as file:
            value = parse_json(next(iter_short_lines(file), b"{}"), path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {describe_malformed(error)}") from None
    return value if isinstance(value, dict) else {}


def check_recipe(recipe: Recipe) -> None:
    """Check names and options of a recipe before any work begins or a model is loaded.

    Raises:
        UsageError: if a name or an option is unknown.
        MissingExtraError: if a required package is not installed.
    """
    open_obfuscator(recipe)
    codec_options(recipe)
    check_detector(recipe)
    if recipe.faces_sha256 is None:
        name = detector_options(recipe, None).detector
        plugin = detectors.DETECTORS.check(name)
        if recipe.weights_sha256 is not None and not plugin.brings_file:
            raise UsageError(f"detector {name!r} takes no file; write --detector {name}")
        if recipe.detector_family is not None and name != "onnx":
            raise UsageError("--detector-family is for --detector onnx:FILE; leave it out")
    elif recipe.weights_sha256 is not None:
        raise UsageError("--faces runs no detector; drop its weights file")


def check_detector(recipe: Recipe) -> None:
    """Check the options of detection, also of a detector that does not run.

    Raises:
        UsageError: if one is unknown or out of range.
    """
    name = detector_options(recipe, None).detector
    if name not in detectors.DETECTORS:
        detectors.DETECTORS.check(name)


def codec_options(recipe: Recipe) -> CodecOptions:
    """Return the recipe's limits and metadata groups, for the codec."""
    return CodecOptions(max_pixels=recipe.max_pixels, keep_metadata=frozenset(recipe.keep_metadata))


def open_tools(recipe: Recipe, faces: Path | None, weights: Path | None) -> Tools:
    """Open the tools of a recipe, in the process that uses them.

    Args:
        recipe: what to do.
        faces: an index from `save_face_index`, or None to run the detector.
        weights: a weights file of the user, or None.

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
    """Return the recipe's margin, or the default of its method."""
    if recipe.margin is not None:
        return recipe.margin
    return masks.default_margin(recipe.method)
