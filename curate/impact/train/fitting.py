"""Training of all networks in a pool of single-threaded processes, whose number changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from curate.engine.local import Finished, LocalPool, Progress, Report
from curate.engine.shards import Shard, Stage, shard_name
from curate.impact.experiment import Scores
from curate.impact.train.cells import DATASETS
from curate.impact.train.options import Hyperparameters, TrainSession
from curate.impact.train.work import (
    Network,
    RowForm,
    TrainTestRows,
    Work,
    forward_stop,
    load_rows,
    make_pause,
)
from curate.manifest.store import load_json, save_json
from curate.pipeline.session import Step

FACTS = "facts.json"

Fitted = tuple[dict[str, Scores], dict[str, Any]]
"""Log-probabilities by tested dataset, and the network's entry in the report."""


@dataclass(frozen=True, slots=True)
class FitJob:
    """Everything that a worker process needs to train; can be pickled.

    Args:
        work: the work folder.
        networks: every network.
        form: shape and type of the images' rows.
        images: number of rows.
        classes: number of classes.
        device: ``cpu`` or ``cuda``.
        hyperparameters: of networks from scratch; None for probes.
    """

    work: Work
    networks: tuple[Network, ...]
    form: RowForm
    images: int
    classes: int
    device: str
    hyperparameters: Hyperparameters | None

    def open(self) -> Callable[[Shard, Report], bool]:
        """Return the function that trains one network; it returns False if it was paused."""
        from curate.impact.train.network import choose_device_config, set_deterministic

        config = choose_device_config(self.device if self.hyperparameters is not None else "cpu")
        set_deterministic(config)
        rows = load_rows(self.work.examples)

        def work(shard: Shard, report: Report) -> bool:
            network = self.networks[shard.number]

            def proceed(epochs: int) -> bool:
                report(epochs, None)
                return not self.work.pause.exists()

            if self.hyperparameters is None:
                found = _fit_probe(self, network, rows) if proceed(0) else None
            else:
                found = _train(self, self.hyperparameters, network, rows, (config, proceed))
            if found is None:
                return False
            predicted, facts = found
            with Stage(self.work.root / "staging", self.work.results, shard.name) as stage:
                for dataset, scores in predicted.items():
                    np.save(stage.path(f"{dataset}.npy"), scores)
                save_json(facts, stage.path(FACTS))
                stage.commit()
            self.work.checkpoint(shard.name).unlink(missing_ok=True)
            return True

        return work


def _train(
    job: FitJob,
    hyperparameters: Hyperparameters,
    network: Network,
    rows: TrainTestRows,
    tools: tuple[Any, Callable[[int], bool]],
) -> Fitted | None:
    from curate.impact.train.trainer import Examples, TrainingJob, digest_weights, predict, train

    config, proceed = tools
    data = {name: job.work.open_rows(name, job.form, job.images) for name in DATASETS}
    tests = {name: Examples(own, rows.test, rows.test_labels) for name, own in data.items()}
    state = train(
        TrainingJob(
            Examples(data[network.trained], rows.train, rows.train_labels),
            job.classes,
            hyperparameters,
            network.seed,
            rows.weights if network.weighted else None,
            tests,
        ),
        config,
        job.work.checkpoint(shard_name(network.number)),
        lambda last: proceed(last.epoch if last else 0),
    )
    if state is None:
        return None
    predicted = {
        name: predict(state.network, examples, config, hyperparameters.size)
        for name, examples in tests.items()
    }
    return predicted, {
        "weights_sha256": digest_weights(state.network),
        "curve": [asdict(epoch) for epoch in state.curve],
    }


def _fit_probe(job: FitJob, network: Network, rows: TrainTestRows) -> Fitted:
    from curate.impact.train.probe import STRENGTHS, Features, fit_probe

    data = {name: job.work.open_rows(name, job.form, job.images) for name in DATASETS}
    probe = fit_probe(
        Features(data[network.trained], rows.train),
        rows.train_labels,
        job.classes,
        network.seed,
        rows.weights if network.weighted else None,
    )
    predicted = {name: probe.predict(Features(own, rows.test)) for name, own in data.items()}
    tried = zip(STRENGTHS, probe.held_out, strict=True)
    return predicted, {
        "strength": probe.strength,
        "steps": probe.steps,
        "held_out": [{"strength": strength, "accuracy": share} for strength, share in tried],
    }


def fit_all(job: FitJob, lock: int, session: TrainSession, workers: int) -> list[dict[str, Any]]:
    """Train every network that is not trained yet.

    Args:
        job: what to train.
        lock: file descriptor of the work folder's lock.
        session: progress and stop event.
        workers: number of processes.

    Returns:
        Each network's entry in the report.

    Raises:
        PausedError: if the run was stopped as requested.
    """
    epochs = job.hyperparameters.epochs if job.hyperparameters is not None else 1
    unit = "epochs" if job.hyperparameters is not None else "probes"
    total = epochs * len(job.networks)
    done = {
        network.number: epochs if job.work.result(shard_name(network.number)).is_dir() else 0
        for network in job.networks
    }

    def watch() -> None:
        session.watch(Step("training", unit, sum(done.values()), total))

    watch()
    waiting = [Shard(each.number, ()) for each in job.networks if not done[each.number]]
    pool = LocalPool(min(workers, max(1, len(waiting))), session.stop, (lock,))
    with forward_stop(session.stop, job.work):
        for event in pool.run(job, waiting):
            if isinstance(event, Progress):
                done[event.shard] = event.index
            elif isinstance(event, Finished) and event.result:
                done[event.shard] = epochs
            watch()
    if sum(done.values()) < total:
        raise make_pause(sum(done.values()), total, unit)
    return _load_facts(job.work, job.networks)


def _load_facts(work: Work, networks: Sequence[Network]) -> list[dict[str, Any]]:
    return [
        {
            "seed": network.seed,
            "trained": network.trained,
            "weighted": network.weighted,
            **load_json(work.result(shard_name(network.number)) / FACTS),
        }
        for network in networks
    ]
