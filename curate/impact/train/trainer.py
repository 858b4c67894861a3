"""Train a network from scratch: the plain loop, with a checkpoint after every epoch."""

from __future__ import annotations

import hashlib
import math
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from curate.core.errors import DataError
from curate.impact.arrays import Floats, Scores
from curate.impact.train.examples import (
    Examples,
    draw_views,
    iter_batches,
    iter_centres,
    normalise,
    take_weights,
)
from curate.impact.train.hyperparameters import Hyperparameters
from curate.impact.train.network import Machine, make_network

_TEST_BATCH = 256


@dataclass(frozen=True, slots=True)
class Epoch:
    """How far a training has come.

    Args:
        epoch: how many epochs are done.
        loss: mean loss of the training images while they were learnt from.
        accuracy: share of them that was right then, in their random crops.
        test: accuracy on each test set; None after epochs at which it was not looked.
    """

    epoch: int
    loss: float
    accuracy: float
    test: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Lesson:
    """One training: all that its result depends on but the machine.

    Args:
        examples: the training images.
        classes: how many there are.
        how: hyperparameters.
        seed: of the first weights, the order and the crops.
        weights: N, how much each training image counts, 1 in the mean; None for all alike.
        tests: test images by name, for the learning curve.

    An image's weight multiplies its loss; the sampler draws nothing more often. So the
    networks with and without weights see the same images in the same crops and order,
    and what differs between them is the weights alone, which drawing anew would drown in
    its own chance; and no image of weight 5 is learnt by heart in five copies an epoch.
    Of either way a network that fits every training image makes less and less in the
    end (Byrd and Lipton, *What is the Effect of Importance Weighting in Deep Learning?*,
    ICML 2019).
    """

    examples: Examples
    classes: int
    how: Hyperparameters
    seed: int
    weights: Floats | None = None
    tests: Mapping[str, Examples] = field(default_factory=dict)


@dataclass(slots=True)
class Student:
    """A network while it learns."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    curve: list[Epoch]

    def to_dict(self) -> dict[str, Any]:
        """Everything that the next epoch depends on; random draws follow from its number."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "curve": [asdict(epoch) for epoch in self.curve],
        }

    def take_up(self, saved: Mapping[str, Any]) -> None:
        """Go on from what ``to_dict`` gave."""
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        self.curve = [Epoch(**epoch) for epoch in saved["curve"]]


def train(
    lesson: Lesson,
    machine: Machine,
    checkpoint: Path,
    go_on: Callable[[Epoch | None], bool] = lambda _: True,
) -> Student | None:
    """Train a network, or go on where an earlier attempt stopped.

    Args:
        lesson: what to learn.
        machine: what on.
        checkpoint: written after every epoch, whole or not at all; read if it is there.
        go_on: asked before every epoch, with the one that is done; ``False`` pauses.

    Returns:
        None if it was paused.

    Raises:
        DataError: if the loss is no number any more.
    """
    student = enrol(lesson, machine)
    saved = load_checkpoint(checkpoint, machine.device)
    if saved is not None:
        student.take_up(saved)
    while len(student.curve) < lesson.how.epochs:
        if not go_on(student.curve[-1] if student.curve else None):
            return None
        study(student, lesson, machine)
        save_checkpoint(student.to_dict(), checkpoint)
    return student


def enrol(lesson: Lesson, machine: Machine) -> Student:
    """A network that has learnt nothing yet."""
    network = machine.house(make_network(lesson.classes, lesson.seed))
    decayed = [each for each in network.parameters() if each.ndim > 1]
    others = [each for each in network.parameters() if each.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": lesson.how.weight_decay},
         {"params": others, "weight_decay": 0.0}],
        lr=lesson.how.lr,
        betas=lesson.how.betas,
    )  # fmt: skip
    return Student(network, optimizer, machine.scaler(), [])


def study(student: Student, lesson: Lesson, machine: Machine) -> None:
    """One epoch."""
    how, done = lesson.how, len(student.curve)
    per_epoch = math.ceil(len(lesson.examples) / how.batch)
    room = lesson.examples.pixels.shape[1] - how.size
    views = draw_views(len(lesson.examples), room, lesson.seed, done)
    student.network.train()
    total = right = 0.0
    for step, (places, pixels) in enumerate(
        iter_batches(lesson.examples, views, how.size, how.batch), start=done * per_epoch
    ):
        for group in student.optimizer.param_groups:
            group["lr"] = how.rate(step, how.epochs * per_epoch)
        labels = torch.from_numpy(lesson.examples.labels[places]).to(machine.device)
        weights = take_weights(lesson.weights, places)
        loss, hits = _step(student, machine.place(normalise(pixels)), labels, weights, machine, how)
        total, right = total + loss * len(places), right + hits
    if not math.isfinite(total):
        raise DataError(
            f"the training broke down in epoch {done + 1} (its loss is no number any more); "
            "try a lower --lr"
        )
    n, epoch = len(lesson.examples), done + 1
    test = None
    if lesson.tests and how.looks_at(epoch):
        test = {
            name: score(student.network, examples, machine, how.size)
            for name, examples in lesson.tests.items()
        }
    student.curve.append(Epoch(epoch, total / n, right / n, test))


def _step(
    student: Student,
    images: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    machine: Machine,
    how: Hyperparameters,
) -> tuple[float, int]:
    """Learn from a batch; returns its mean loss and how many were right."""
    with machine.cast():
        scores = student.network(images)
    losses = functional.cross_entropy(
        scores.float(), labels, reduction="none", label_smoothing=how.label_smoothing
    )
    # Not divided by the weights' sum: a batch of scarce images shall pull as much as it weighs.
    loss = losses.mean() if weights is None else (losses * weights.to(losses.device)).mean()
    student.optimizer.zero_grad()
    torch.autograd.backward(student.scaler.scale(loss))
    student.scaler.step(student.optimizer)
    student.scaler.update()
    return float(loss.detach()), int((scores.argmax(dim=1) == labels).sum())


def predict(network: nn.Module, examples: Examples, machine: Machine, size: int) -> Scores:
    """Logarithms of probabilities of all classes, N×C float32.

    Args:
        network: a trained one.
        examples: N images.
        machine: where the network is.
        size: height and width of what it sees.
    """
    network.eval()
    parts = []
    with torch.no_grad():
        for pixels in iter_centres(examples, size, _TEST_BATCH):
            with machine.cast():
                scores = network(machine.place(normalise(pixels)))
            parts.append(functional.log_softmax(scores.float(), dim=1).cpu().numpy())
    return np.concatenate(parts)


def score(network: nn.Module, examples: Examples, machine: Machine, size: int) -> float:
    """Accuracy on some images."""
    best = predict(network, examples, machine, size).argmax(axis=1)
    return float((best == examples.labels).mean())


def digest_weights(network: nn.Module) -> str:
    """SHA-256 of all weights and running means, in hexadecimal."""
    total = hashlib.sha256()
    for name, value in network.state_dict().items():
        total.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        total.update(np.ascontiguousarray(value.cpu().numpy()).data)
    return total.hexdigest()


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint, so that there is always the last one or this one, whole."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


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
