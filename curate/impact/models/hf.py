"""Image classifier of transformers, from a folder or the Hugging Face Hub."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.core.errors import SetupError, UsageError, WeightsError, one_line
from curate.core.protocols import Classifier, Pixels
from curate.impact.models.request import Request, is_path
from curate.impact.models.torch_module import Loaded, TorchClassifier, digest_state

_UNTOLD = {"_processor_class", "_valid_processor_keys", "image_processor_type"}
_OFFLINE = {"OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectError"}
_LONGEST_ASPECT = 64
"""Longer images are cropped to this aspect ratio at the center, to bound the resized size."""


class ImageProcessor:
    """The model's own preprocessing.

    Args:
        processor: of transformers, on Pillow and NumPy.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def apply(self, image: Pixels) -> npt.NDArray[np.float32]:
        """Return the network's input, shape (3, H, W), float32, from (H, W, 3) uint8."""
        from PIL import Image

        # A Pillow image, because an array of 3×W×3 could be taken to have its channels first.
        prepared = self._processor(
            images=Image.fromarray(_without_ends(image)), return_tensors="np"
        )
        return np.asarray(prepared["pixel_values"][0], dtype=np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the report."""
        plain = self._processor.to_dict()
        return {"processor": type(self._processor).__name__} | {
            key: value
            for key, value in sorted(plain.items())
            if value is not None and key not in _UNTOLD
        }


def build(request: Request) -> Classifier:
    """Load the model of a specification.

    Raises:
        UsageError: if it is not for images, or not found.
        SetupError: if transformers cannot be imported.
        WeightsError: if it cannot be loaded.
    """
    request.refuse_settings()
    library = import_transformers()
    module, processor = _load(library, request.what)
    names = tuple(module.config.id2label[path] for path in sorted(module.config.id2label))
    preprocess = ImageProcessor(processor)
    loaded = Loaded(
        module=module,
        prepare=preprocess.apply,
        preprocess=preprocess.to_dict(),
        weights_sha256={"state_dict": digest_state(module)},
        libraries={"transformers": str(library.__version__)},
        classes=None if all(_is_pathholder(name) for name in names) else names,
    )
    return TorchClassifier(request.spec, request.public_spec, loaded, request.device)


def import_transformers() -> Any:
    """Import the library with its own progress output disabled."""
    _hide_broken_torchvision()
    try:
        import transformers
    except (ImportError, RuntimeError) as error:
        raise SetupError(f"cannot import transformers: {one_line(error)}") from None
    library: Any = transformers  # has no types
    library.utils.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()
    import huggingface_hub

    hub: Any = huggingface_hub
    hub.utils.logging.set_verbosity_error()  # a missing network is reported once, at the end
    return library


def _hide_broken_torchvision() -> None:
    """Hide a torchvision that cannot be imported from transformers.

    Other packages install it in builds that may not match torch. transformers uses it wherever
    it is installed, and does not need it here.
    """
    try:
        import torchvision  # type: ignore[import-untyped]  # noqa: F401
    except (ImportError, RuntimeError):
        sys.modules["torchvision"] = None  # type: ignore[assignment]  # makes the import fail


def _load(library: Any, what: str) -> tuple[Any, Any]:
    path = str(Path(what).expanduser()) if is_path(what) else what
    if is_path(what) and not Path(path).is_dir():
        raise UsageError(f"there is no folder {path}; give the one with the model's config.json")
    try:
        processor = library.AutoImageProcessor.from_pretrained(path, backend="pil")
        module = library.AutoModelForImageClassification.from_pretrained(path)
    except Exception as error:  # any error of the network or the Hub
        raise WeightsError(_explain(what, error)) from None
    return module, processor


def _explain(what: str, error: Exception) -> str:
    """One line for errors of the network or the Hub."""
    chain = {type(each).__name__ for each in _causes(error)}
    text = " ".join(str(each) for each in _causes(error))
    if "GatedRepoError" in chain or "gated repo" in text:
        return (
            f"the model {what!r} is gated: accept its terms at https://huggingface.co/{what}, "
            "then log in with: hf auth login"
        )
    if "RepositoryNotFoundError" in chain or "not a valid model identifier" in text:
        return (
            f"the Hugging Face Hub has no model {what!r} that you may read; give its name as "
            "OWNER/NAME, the folder of a model, or log in with: hf auth login"
        )
    if not is_path(what) and ("connect to" in text or "Can't load" in text or chain & _OFFLINE):
        return (
            f"the model {what!r} is not in the cache, and the Hugging Face Hub does not answer or "
            "has no image classifier of that name; give the folder of a model, or try again with "
            "a network"
        )
    return f"the model {what!r} cannot be loaded: {one_line(error)}"


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and len(found) < 10:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _without_ends(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    limit = _LONGEST_ASPECT * min(height, width)
    top, left = max((height - limit) // 2, 0), max((width - limit) // 2, 0)
    return np.ascontiguousarray(image[top : top + limit, left : left + limit])


def _is_pathholder(name: str) -> bool:
    """Whether a class has only the default name of transformers."""
    return name.startswith("LABEL_")
