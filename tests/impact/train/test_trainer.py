from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from curate.core.errors import DataError
from curate.impact.train.network import (
    BFLOAT16,
    FLOAT16,
    DeviceConfig,
    choose_device_config,
    make_network,
    set_deterministic,
)
from curate.impact.train.options import Hyperparameters
from curate.impact.train.trainer import (
    Epoch,
    Examples,
    TrainingJob,
    TrainingState,
    compute_accuracy,
    digest_weights,
    draw_augmentation,
    iter_batches,
    iter_center_crops,
    load_checkpoint,
    normalize,
    predict,
    save_checkpoint,
    train,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 9, 3), dtype=np.uint8)
EXAMPLES = Examples(PIXELS, np.array([5, 0, 3, 1]), np.array([1, 0, 1, 0]))


def test_augmentation_depends_on_seed_and_epoch_alone() -> None:
    first, again, later, other = (
        draw_augmentation(50, 3, *numbers) for numbers in ((1, 2), (1, 2), (1, 3), (2, 2))
    )
    assert np.array_equal(first.order, again.order)
    assert np.array_equal(first.corners, again.corners)
    assert np.array_equal(first.flipped, again.flipped)
    for another in (later, other):
        assert not np.array_equal(first.order, another.order)
        assert not np.array_equal(first.corners, another.corners)


def test_every_epoch_uses_each_image_once() -> None:
    views = draw_augmentation(4, 1, 0, 0)
    shown = list(iter_batches(EXAMPLES, views, size=8, batch=3))
    assert [len(places) for places, _ in shown] == [3, 1]
    assert sorted(int(place) for places, _ in shown for place in places) == [0, 1, 2, 3]
    for places, crops in shown:
        for place, crop in zip(places, crops, strict=True):
            image = PIXELS[EXAMPLES.rows[place]]
            parts = [image[y : y + 8, x : x + 8] for y in (0, 1) for x in (0, 1)]
            assert any(
                np.array_equal(crop, part) or np.array_equal(crop, part[:, ::-1]) for part in parts
            )


def test_crops_cover_the_range_and_half_are_flipped() -> None:
    views = draw_augmentation(4000, 2, 0, 0)
    assert set(views.corners.ravel().tolist()) == {0, 1, 2}
    assert abs(views.flipped.mean() - 0.5) < 0.04


def test_images_are_center_crops_in_order() -> None:
    shown = np.concatenate(list(iter_center_crops(EXAMPLES, size=7, batch=3)))
    assert np.array_equal(shown, PIXELS[EXAMPLES.rows, 1:8, 1:8])


def test_pixels_are_normalized_by_channel() -> None:
    gray = np.full((1, 2, 2, 3), 255, dtype=np.uint8)
    found = normalize(gray).numpy()
    assert found.shape == (1, 3, 2, 2)
    assert np.allclose(found[0, :, 0, 0], [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, 0.594 / 0.225])


HOW = Hyperparameters(epochs=4, size=16, batch=8, lr=0.01)
CPU = DeviceConfig()


def draw_images(count: int, seed: int = 0) -> Examples:
    """Two classes that differ in color, in the form that images are stored in."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    pixels = random.integers(0, 120, (count, HOW.stored, HOW.stored, 3))
    pixels[labels == 1, :, :, 0] += 120
    return Examples(pixels.astype(np.uint8), np.arange(count), labels)


IMAGES, TESTS = draw_images(40), draw_images(20, seed=1)


def lesson(seed: int = 0, how: Hyperparameters = HOW, **more: object) -> TrainingJob:
    return TrainingJob(IMAGES, 2, how, seed, tests={"original": TESTS}, **more)  # type: ignore[arg-type]


def finish(made: TrainingState | None) -> TrainingState:
    assert made is not None
    return made


@pytest.fixture(autouse=True)
def _settled() -> object:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    set_deterministic(CPU)
    yield
    torch.set_num_threads(before[0])
    torch.use_deterministic_algorithms(before[1])


def test_training_learns_and_records_a_curve(tmp_path: Path) -> None:
    done = finish(train(lesson(), CPU, tmp_path / "a.pt"))
    assert [epoch.epoch for epoch in done.curve] == [1, 2, 3, 4]
    assert done.curve[-1].loss < done.curve[0].loss
    assert compute_accuracy(done.network, TESTS, CPU, HOW.size) == 1.0
    assert done.curve[-1].test == {"original": 1.0}
    logs = predict(done.network, TESTS, CPU, HOW.size)
    assert np.allclose(np.exp(logs).sum(axis=1), 1, atol=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (
        digest_weights(finish(train(lesson(seed), CPU, tmp_path / f"{number}.pt")).network)
        for number, seed in enumerate((0, 0, 1))
    )
    assert first == again
    assert first != other


def test_networks_of_a_seed_share_initial_weights() -> None:
    assert digest_weights(make_network(2, 5)) == digest_weights(make_network(2, 5))
    assert digest_weights(make_network(2, 5)) != digest_weights(make_network(2, 6))


def test_resuming_at_any_epoch_changes_nothing(tmp_path: Path) -> None:
    whole = finish(train(lesson(), CPU, tmp_path / "whole.pt"))
    for stop in range(HOW.epochs):
        path = tmp_path / f"{stop}.pt"

        def go_on(last: Epoch | None, stop: int = stop) -> bool:
            return (last.epoch if last else 0) < stop

        assert train(lesson(), CPU, path, go_on) is None
        assert path.exists() == (stop > 0)
        resumed = finish(train(lesson(), CPU, path))
        assert digest_weights(resumed.network) == digest_weights(whole.network)
        assert resumed.curve == whole.curve


def test_unit_weights_change_nothing_and_zero_removes_an_image(tmp_path: Path) -> None:
    plain = finish(train(lesson(), CPU, tmp_path / "plain.pt"))
    ones = finish(train(lesson(weights=np.ones(40)), CPU, tmp_path / "ones.pt"))
    assert digest_weights(plain.network) == digest_weights(ones.network)
    only_second = np.where(IMAGES.labels == 1, 2.0, 0.0)
    how = Hyperparameters(epochs=8, size=16, batch=8, lr=0.01)
    blind = finish(train(lesson(how=how, weights=only_second), CPU, tmp_path / "blind.pt"))
    best = predict(blind.network, TESTS, CPU, HOW.size).argmax(axis=1)
    assert (best == 1).all()


def test_mixed_precision_and_channels_last_learn(tmp_path: Path) -> None:
    """The way of an accelerator, walked on the processor."""
    mixed = DeviceConfig("cpu", BFLOAT16, channels_last=True)
    done = finish(train(lesson(), mixed, tmp_path / "mixed.pt"))
    assert compute_accuracy(done.network, TESTS, mixed, HOW.size) == 1.0
    assert all(value.dtype == torch.float32 for value in done.network.parameters())
    plain = finish(train(lesson(), CPU, tmp_path / "plain.pt"))
    assert digest_weights(done.network) != digest_weights(plain.network)
    said = mixed.describe()
    assert said["number_type"] == "mixed float32 and bfloat16"
    assert said["channels_last"] is True


def test_only_float16_needs_its_gradients_scaled() -> None:
    assert DeviceConfig("cpu", FLOAT16).make_scaler().is_enabled()
    assert not DeviceConfig("cpu", BFLOAT16).make_scaler().is_enabled()
    assert choose_device_config("cpu") == CPU
    assert CPU.describe()["number_type"] == "float32"


def test_diverged_training_is_an_error(tmp_path: Path) -> None:
    how = Hyperparameters(epochs=4, size=16, batch=8, lr=1e30)
    with pytest.raises(DataError, match="try a lower --lr"):
        train(lesson(how=how), CPU, tmp_path / "x.pt")


def test_damaged_checkpoint_is_a_one_line_error(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    assert load_checkpoint(path, "cpu") is None
    save_checkpoint({"curve": []}, path)
    assert load_checkpoint(path, "cpu") == {"curve": []}
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="is damaged; remove it"):
        load_checkpoint(path, "cpu")
