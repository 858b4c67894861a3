"""Train every network in a pool of processes, each on one thread: their number changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from curate.engine.local import Finished, LocalPool, Progress, Report
from curate.engine.shards import Shard, Stage, shard_name
from curate.impact.arrays import Scores
from curate.impact.train.hyperparameters import Hyperparameters
from curate.impact.train.plan import Arm, Lessons, Running, load_lessons, paused
from curate.impact.train.trial import DATASETS
from curate.impact.train.work import RowForm, Work, passing_on
from curate.manifest.store import load_json, save_json
from curate.pipeline.session import Step

FACTS = "facts.json"


@dataclass(frozen=True, slots=True)
class FitJob:
    """Everything a process needs to train; small, and survives pickling.

    Args:
        work: the work folder.
        arms: every network.
        form: of the images' rows.
        images: how many rows there are.
        classes: how many there are.
        device: ``cpu`` or ``cuda``.
        how: of a network from scratch; None to probe.
    """

    work: Work
    arms: tuple[Arm, ...]
    form: RowForm
    images: int
    classes: int
    device: str
    how: Hyperparameters | None

    def open(self) -> Callable[[Shard, Report], bool]:
        """Returns what trains one network; that returns ``False`` if it was paused."""
        from curate.impact.train.network import machine_for, settle

        machine = machine_for(self.device if self.how is not None else "cpu")
        settle(machine)
        lessons = load_lessons(self.work.examples)

        def work(shard: Shard, report: Report) -> bool:
            arm = self.arms[shard.number]

            def go_on(epochs: int) -> bool:
                report(epochs, None)
                return not self.work.pause.exists()

            if self.how is None:
                found = _probe(self, arm, lessons) if go_on(0) else None
            else:
                found = _train(self, self.how, arm, lessons, machine, go_on)
            if found is None:
                return False
            answers, facts = found
            with Stage(self.work.root / "staging", self.work.results, shard.name) as stage:
                for dataset, scores in answers.items():
                    np.save(stage.path(f"{dataset}.npy"), scores)
                save_json(facts, stage.path(FACTS))
                stage.commit()
            self.work.checkpoint(shard.name).unlink(missing_ok=True)
            return True

        return work


Answers = tuple[dict[str, Scores], dict[str, Any]]
"""Logarithms of probabilities by the dataset that was tested, and what the report says."""


def _train(
    job: FitJob,
    how: Hyperparameters,
    arm: Arm,
    lessons: Lessons,
    machine: Any,
    go_on: Callable[[int], bool],
) -> Answers | None:
    from curate.impact.train.examples import Examples
    from curate.impact.train.trainer import Lesson, digest_weights, predict, train

    rows = {name: job.work.open_rows(name, job.form, job.images) for name in DATASETS}
    tests = {name: Examples(own, lessons.test, lessons.test_labels) for name, own in rows.items()}
    student = train(
        Lesson(
            Examples(rows[arm.trained], lessons.train, lessons.train_labels),
            job.classes,
            how,
            arm.seed,
            lessons.weights if arm.weighted else None,
            tests,
        ),
        machine,
        job.work.checkpoint(shard_name(arm.number)),
        lambda last: go_on(last.epoch if last else 0),
    )
    if student is None:
        return None
    answers = {
        name: predict(student.network, examples, machine, how.size)
        for name, examples in tests.items()
    }
    return answers, {
        "weights_sha256": digest_weights(student.network),
        "curve": [asdict(epoch) for epoch in student.curve],
    }


def _probe(job: FitJob, arm: Arm, lessons: Lessons) -> Answers:
    from curate.impact.train.probe import STRENGTHS, Features, fit_probe

    rows = {name: job.work.open_rows(name, job.form, job.images) for name in DATASETS}
    probe = fit_probe(
        Features(rows[arm.trained], lessons.train),
        lessons.train_labels,
        job.classes,
        arm.seed,
        lessons.weights if arm.weighted else None,
    )
    answers = {name: probe.predict(Features(own, lessons.test)) for name, own in rows.items()}
    tried = zip(STRENGTHS, probe.held_out, strict=True)
    return answers, {
        "strength": probe.strength,
        "steps": probe.steps,
        "held_out": [{"strength": strength, "accuracy": share} for strength, share in tried],
    }


def fit_all(job: FitJob, lock: int, running: Running, workers: int) -> list[dict[str, Any]]:
    """Train every network that is not trained yet.

    Args:
        job: what to train.
        lock: descriptor of the work folder's lock.
        running: how to go about it.
        workers: processes.

    Returns:
        What the report says of each.

    Raises:
        PausedError: if the run was stopped as asked.
    """
    epochs = job.how.epochs if job.how is not None else 1
    unit = "epochs" if job.how is not None else "probes"
    done = {
        arm.number: epochs if job.work.result(shard_name(arm.number)).is_dir() else 0
        for arm in job.arms
    }

    def watch() -> None:
        running.watch(Step("training", unit, sum(done.values()), epochs * len(job.arms)))

    watch()
    waiting = [Shard(arm.number, ()) for arm in job.arms if not done[arm.number]]
    pool = LocalPool(min(workers, max(1, len(waiting))), running.stop, (lock,))
    with passing_on(running.stop, job.work):
        for event in pool.run(job, waiting):
            if isinstance(event, Progress):
                done[event.shard] = event.index
            elif isinstance(event, Finished) and event.result:
                done[event.shard] = epochs
            watch()
    if sum(done.values()) < epochs * len(job.arms):
        raise paused(sum(done.values()), epochs * len(job.arms), unit)
    return _load_facts(job.work, job.arms)


def _load_facts(work: Work, arms: Sequence[Arm]) -> list[dict[str, Any]]:
    return [
        {
            "seed": arm.seed,
            "trained": arm.trained,
            "weighted": arm.weighted,
            **load_json(work.result(shard_name(arm.number)) / FACTS),
        }
        for arm in arms
    ]
