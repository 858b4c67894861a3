"""Training of a network from scratch, with a checkpoint after every epoch."""

from __future__ import annotations

import hashlib
import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from curate.core.errors import DataError
from curate.core.protocols import Pixels
from curate.impact.experiment import Floats, Ints, Scores
from curate.impact.train.network import DeviceConfig, make_network
from curate.impact.train.options import MEAN, STD, Hyperparameters
from curate.storage.atomic import open_atomic

_TEST_BATCH = 256


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Some of a dataset's images with their labels.

    Args:
        pixels: all images, shape (P, S, S, 3), uint8; may be a memory map.
        rows: indices of the examples, shape (N,).
        labels: their classes, shape (N,).
    """

    pixels: npt.NDArray[np.uint8]
    rows: Ints
    labels: Ints

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Order, crops and flips of one epoch.

    They depend on the seed, the epoch and the number of images alone: networks that are
    trained on either dataset see the same images in the same crops and order, and a resumed
    training sees what it would have seen.

    Args:
        order: permutation of the examples, shape (N,).
        corners: top and left of each example's crop, shape (N, 2).
        flipped: whether it is flipped, shape (N,).
    """

    order: Ints
    corners: Ints
    flipped: npt.NDArray[np.bool_]


def draw_augmentation(images: int, max_shift: int, seed: int, epoch: int) -> Augmentation:
    """Draw the augmentation of an epoch.

    Args:
        images: number of examples.
        max_shift: pixels that a crop can move, vertically and horizontally.
        seed: random seed of the training.
        epoch: number of the epoch.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(images)
    corners = random.integers(0, max_shift + 1, size=(images, 2))
    return Augmentation(order, corners, random.random(images) < 0.5)


def crop(image: Pixels, corner: npt.ArrayLike, size: int, flipped: bool = False) -> Pixels:
    """Crop a square of an image and optionally flip it, shape (size, size, 3)."""
    top, left = np.asarray(corner)
    part = image[top : top + size, left : left + size]
    return part[:, ::-1] if flipped else part


def iter_batches(
    examples: Examples, augmentation: Augmentation, size: int, batch: int
) -> Iterator[tuple[Ints, Pixels]]:
    """Iterate over indices of examples and their crops, shape (n, size, size, 3)."""
    for start in range(0, len(examples), batch):
        indices = augmentation.order[start : start + batch]
        crops = [
            crop(
                examples.pixels[examples.rows[index]],
                augmentation.corners[index],
                size,
                bool(augmentation.flipped[index]),
            )
            for index in indices
        ]
        yield indices, np.stack(crops)


def iter_center_crops(examples: Examples, size: int, batch: int) -> Iterator[Pixels]:
    """Iterate over center crops in the order of the examples."""
    corner = ((examples.pixels.shape[1] - size) // 2,) * 2
    for start in range(0, len(examples), batch):
        rows = examples.rows[start : start + batch]
        yield np.stack([crop(examples.pixels[row], corner, size) for row in rows])


def normalize(pixels: Pixels) -> Tensor:
    """Return a network's input, shape (N, 3, H, W), float32, from (N, H, W, 3) uint8."""
    values = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float()
    mean = torch.tensor(MEAN).view(1, 3, 1, 1) * 255
    return (values - mean) / (torch.tensor(STD).view(1, 3, 1, 1) * 255)


@dataclass(frozen=True, slots=True)
class Epoch:
    """One point of the learning curve.

    Args:
        epoch: number of completed epochs.
        loss: mean training loss during the epoch.
        accuracy: training accuracy during the epoch, on augmented images.
        test: accuracy on each test set; None after epochs without evaluation.
    """

    epoch: int
    loss: float
    accuracy: float
    test: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """Everything that the result of a training depends on, except the device.

    A weight multiplies an image's loss; images are not sampled more often. Networks with and
    without weights therefore see the same images in the same crops and order, and differ by the
    weights alone. With either method the effect decreases once a network fits all training
    images (Byrd and Lipton, *What is the Effect of Importance Weighting in Deep Learning?*,
    ICML 2019).

    Args:
        examples: the training images.
        classes: number of classes.
        hyperparameters: of the training.
        seed: of the initial weights, the order and the crops.
        weights: of the training images, shape (N,), with mean 1; None for equal weights.
        tests: test images by name, for the learning curve.
    """

    examples: Examples
    classes: int
    hyperparameters: Hyperparameters
    seed: int
    weights: Floats | None = None
    tests: Mapping[str, Examples] = field(default_factory=dict)


@dataclass(slots=True)
class TrainingState:
    """A network during training."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    curve: list[Epoch]

    def to_dict(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "curve": [asdict(epoch) for epoch in self.curve],
        }

    def load_dict(self, saved: Mapping[str, Any]) -> None:
        """Restore what `to_dict` returned."""
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        self.curve = [Epoch(**epoch) for epoch in saved["curve"]]


def train(
    job: TrainingJob,
    config: DeviceConfig,
    checkpoint: Path,
    proceed: Callable[[Epoch | None], bool] = lambda _: True,
) -> TrainingState | None:
    """Train a network, or resume from its checkpoint.

    Args:
        job: what to train.
        config: device and precision.
        checkpoint: written atomically after every epoch; read if it exists.
        proceed: called before every epoch with the last one; False pauses.

    Returns:
        None if it was paused.

    Raises:
        DataError: if the loss is not finite.
    """
    state = make_state(job, config)
    saved = load_checkpoint(checkpoint, config.device)
    if saved is not None:
        state.load_dict(saved)
    while len(state.curve) < job.hyperparameters.epochs:
        if not proceed(state.curve[-1] if state.curve else None):
            return None
        train_epoch(state, job, config)
        save_checkpoint(state.to_dict(), checkpoint)
    return state


def make_state(job: TrainingJob, config: DeviceConfig) -> TrainingState:
    """Return an untrained network with its optimizer."""
    network = config.move_network(make_network(job.classes, job.seed))
    decayed = [each for each in network.parameters() if each.ndim > 1]
    others = [each for each in network.parameters() if each.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": job.hyperparameters.weight_decay},
         {"params": others, "weight_decay": 0.0}],
        lr=job.hyperparameters.lr,
        betas=job.hyperparameters.betas,
    )  # fmt: skip
    return TrainingState(network, optimizer, config.make_scaler(), [])


def train_epoch(state: TrainingState, job: TrainingJob, config: DeviceConfig) -> None:
    """Train for one epoch and extend the learning curve."""
    hyperparameters, done, n = job.hyperparameters, len(state.curve), len(job.examples)
    size, steps = hyperparameters.size, math.ceil(n / hyperparameters.batch)
    max_shift = job.examples.pixels.shape[1] - size
    augmentation = draw_augmentation(n, max_shift, job.seed, done)
    state.network.train()
    total = correct = 0.0
    batches = iter_batches(job.examples, augmentation, size, hyperparameters.batch)
    for step, (indices, pixels) in enumerate(batches, start=done * steps):
        for group in state.optimizer.param_groups:
            group["lr"] = hyperparameters.rate(step, hyperparameters.epochs * steps)
        labels = torch.from_numpy(job.examples.labels[indices]).to(config.device)
        weights = None
        if job.weights is not None:
            weights = torch.from_numpy(job.weights[indices].astype(np.float32))
        images = config.move_images(normalize(pixels))
        loss, hits = _step(state, images, (labels, weights), config, hyperparameters)
        total, correct = total + loss * len(indices), correct + hits
    if not math.isfinite(total):
        raise DataError(
            f"training diverged in epoch {done + 1} (the loss is not finite); try a lower --lr"
        )
    test = None
    if job.tests and hyperparameters.evaluates(done + 1):
        test = {
            name: compute_accuracy(state.network, examples, config, size)
            for name, examples in job.tests.items()
        }
    state.curve.append(Epoch(done + 1, total / n, correct / n, test))


def _step(
    state: TrainingState,
    images: Tensor,
    targets: tuple[Tensor, Tensor | None],
    config: DeviceConfig,
    hyperparameters: Hyperparameters,
) -> tuple[float, int]:
    """Train on a batch of labels and weights; returns its mean loss and number correct."""
    labels, weights = targets
    with config.autocast():
        scores = state.network(images)
    losses = functional.cross_entropy(
        scores.float(), labels, reduction="none", label_smoothing=hyperparameters.label_smoothing
    )
    # Not divided by the sum of weights: a batch of rare images keeps its weight.
    loss = losses.mean() if weights is None else (losses * weights.to(losses.device)).mean()
    state.optimizer.zero_grad()
    torch.autograd.backward(state.scaler.scale(loss))
    state.scaler.step(state.optimizer)
    state.scaler.update()
    return float(loss.detach()), int((scores.argmax(dim=1) == labels).sum())


def predict(network: nn.Module, examples: Examples, config: DeviceConfig, size: int) -> Scores:
    """Return log-probabilities of all classes, shape (N, C), float32.

    Args:
        network: a trained network.
        examples: N images.
        config: device and precision.
        size: height and width of the network's input.
    """
    network.eval()
    parts = []
    with torch.no_grad():
        for pixels in iter_center_crops(examples, size, _TEST_BATCH):
            with config.autocast():
                scores = network(config.move_images(normalize(pixels)))
            parts.append(functional.log_softmax(scores.float(), dim=1).cpu().numpy())
    return np.concatenate(parts)


def compute_accuracy(
    network: nn.Module, examples: Examples, config: DeviceConfig, size: int
) -> float:
    """Return the accuracy on some images."""
    best = predict(network, examples, config, size).argmax(axis=1)
    return float((best == examples.labels).mean())


def digest_weights(network: nn.Module) -> str:
    """Return the SHA-256 of all parameters and buffers, hexadecimal."""
    total = hashlib.sha256()
    for name, value in network.state_dict().items():
        total.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        total.update(np.ascontiguousarray(value.cpu().numpy()).data)
    return total.hexdigest()


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint atomically."""
    with open_atomic(path) as file:
        torch.save(dict(state), file)


def load_checkpoint(path: Path, device: str) -> dict[str, Any] | None:
    """Read a checkpoint; None if there is none.

    Raises:
        DataError: if it is damaged.
    """
    try:
        return dict(torch.load(path, map_location=device, weights_only=True))
    except FileNotFoundError:
        return None
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        raise DataError(f"the checkpoint {path} is damaged; remove it and run again") from None
