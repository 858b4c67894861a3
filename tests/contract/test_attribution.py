"""What every method of attribution promises, over all of them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from curate.core.errors import UsageError
from curate.impact.explain.attribution import METHODS, Method, MethodOptions, Subject
from curate.impact.explain.attribution.superpixels import segment
from tests.impact.explain.attribution.networks import (
    SIDE,
    Gated,
    Small,
    Spotlight,
    Wordless,
    box_mask,
)

REGION = box_mask(slice(4, 14), slice(6, 18))
ELSEWHERE = box_mask(slice(20, 30), slice(8, 24))


def draw_subject(target: int = 1, seed: int = 0) -> Subject:
    random = np.random.default_rng(seed)
    image = random.uniform(-1, 1, size=(3, SIDE, SIDE)).astype(np.float32)
    shown = (image.transpose(1, 2, 0) + 1) / 2
    return Subject(image, target, segment(shown.astype(np.float64), REGION.astype(np.float64)), 7)


def open_method(name: str, classifier: Small) -> Method:
    options = MethodOptions(lime_samples=300, shap_samples=300)
    found: Method = METHODS.resolve(name)(classifier, draw_subject().prepared, options)
    return found


def share_in(values: np.ndarray, mask: np.ndarray) -> float:
    positive = np.maximum(values, 0)
    return float((positive * mask).sum() / positive.sum())


@pytest.fixture(params=list(METHODS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_maps_have_the_input_size_and_are_deterministic(name: str) -> None:
    method = open_method(name, Small(Spotlight(REGION)))
    subject = draw_subject()
    first = method.attribute(subject)
    assert first.shape == (SIDE, SIDE)
    assert np.isfinite(first).all()
    assert (first == method.attribute(subject)).all()
    assert (first == open_method(name, Small(Spotlight(REGION))).attribute(subject)).all()
    assert method.title
    assert all(isinstance(value, (str, int, float)) for value in method.parameters.values())


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("target", [0, 2])
def test_attribution_lies_where_the_network_reads(name: str, target: int, seed: int) -> None:
    subject = draw_subject(target, seed)
    method = open_method(name, Small(Spotlight(REGION, seed)))
    assert share_in(method.attribute(subject), REGION) > 0.9


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_attribution_where_the_network_does_not_read(name: str, seed: int) -> None:
    method = open_method(name, Small(Spotlight(ELSEWHERE, seed)))
    assert share_in(method.attribute(draw_subject(seed=seed)), REGION) < 0.05


def test_network_input_and_generator_are_unchanged(name: str) -> None:
    network = Spotlight(REGION).eval()
    before = copy.deepcopy(network.state_dict())
    subject = draw_subject()
    kept = subject.prepared.copy()
    state = torch.random.get_rng_state()
    hooks = [len(module._forward_hooks) for module in network.modules()]
    open_method(name, Small(network)).attribute(subject)
    assert (state == torch.random.get_rng_state()).all()
    assert (subject.prepared == kept).all()
    assert all((before[key] == value).all() for key, value in network.state_dict().items())
    assert hooks == [len(module._forward_hooks) for module in network.modules()]
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(hasattr(module, "rule") for module in network.modules())


def test_another_seed_draws_other_samples_where_samples_are_drawn(name: str) -> None:
    method = open_method(name, Small(Spotlight(REGION)))
    one = draw_subject()
    other = Subject(one.prepared, one.target, one.superpixels, 8)
    same = (method.attribute(one) == method.attribute(other)).all()
    assert same == ("samples" not in method.parameters)


def test_classifier_without_a_network(name: str) -> None:
    if name in ("lime", "shap"):
        assert open_method(name, Small(None)).attribute(draw_subject()).any()
        return
    with pytest.raises(UsageError, match="has no network"):
        open_method(name, Small(None))


def test_unsupported_architecture_is_reported(name: str) -> None:
    if name in ("lime", "shap"):
        return
    with pytest.raises(UsageError, match="not supported for this architecture"):
        open_method(name, Small(Wordless()))
    if name == "lrp":
        with pytest.raises(UsageError, match="the operation 'sigmoid' has no rule"):
            open_method(name, Small(Gated()))
