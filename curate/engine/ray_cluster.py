"""Ray clusters: connect to a running one, or start one on this machine."""

from __future__ import annotations

import contextlib
import math
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from curate.core.errors import CurateError, MissingExtraError, SetupError

_OBJECT_STORE_BYTES = 80 << 20  # shards are small, and images never pass through Ray
_ANSWER_S = 20.0  # of a head node that is busy
_CONNECT_S = 5.0


@dataclass(frozen=True, slots=True)
class RayOptions:
    """How to run on Ray.

    Args:
        address: ``HOST:PORT``, ``ray://HOST:PORT`` or ``auto`` for a running cluster; an
            empty string starts a local one.
        workers: number of actors, or None for one per core, or per GPU.
        gpus: GPUs per actor, or 0.
        timeout: seconds without progress on a shard after which an actor is replaced.
    """

    address: str = ""
    workers: int | None = None
    gpus: float = 0.0
    timeout: float = 300.0


def import_ray() -> Any:
    """Import Ray; it reports nothing to its makers and is silent.

    Raises:
        MissingExtraError: if it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise MissingExtraError("--engine ray", "ray", "ray") from None
    # Ray prints what nodes report to stdout, where a command prints its result; there is no
    # setting for it. Lost nodes and actors are noticed by themselves.
    if hasattr(ray._private.worker, "print_to_stdstream"):
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
    return ray


@contextlib.contextmanager
def connected(ray: Any, options: RayOptions) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine, unless this process has a connection."""
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if not options.address:
            ray.init(
                address="local",
                num_cpus=options.workers,
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                **quiet,
            )
        else:
            _check_answer(options.address)
            ray.init(address=options.address, **quiet)
    except CurateError:
        raise
    except Exception as error:
        where = f"at {options.address}" if options.address else "on this machine"
        raise SetupError(
            f"no Ray cluster can be used {where} ({describe_ray_error(error)}); start one with "
            "`ray start --head`, or use --engine ray for one on this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_answer(address: str) -> None:
    """Refuse an address at which no cluster answers: Ray itself waits for minutes."""
    if address == "auto":
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise SetupError(
            f"{address!r} is not the address of a Ray cluster; give HOST:PORT, ray://HOST:PORT or "
            "auto"
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S) as peer:
            if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
                _greet(peer)
    except OSError as error:
        raise SetupError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); check the address "
            "with `ray status --address HOST:PORT` on that machine"
        ) from None
    if address.startswith("ray://") and find_spec("grpc") is None:
        raise SetupError(
            f"{address} is reached by Ray Client, which is not installed; run: pip install "
            "'ray[client]'"
        )


def _greet(peer: socket.socket) -> None:
    """Raise `OSError` unless the peer opens an HTTP/2 connection, on which Ray's gRPC stands."""
    peer.settimeout(_ANSWER_S)
    settings_frame = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # length, type, flags, stream
    peer.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings_frame)
    head = b""
    while len(head) < len(settings_frame):
        more = peer.recv(len(settings_frame) - len(head))
        if not more:
            raise OSError("it closed the connection")
        head += more
    if head[3] != settings_frame[3]:
        raise OSError("something else listens there")


def count_actors(ray: Any, options: RayOptions) -> int:
    """Number of actors: as given, else one per core, or per GPU, of the cluster.

    Raises:
        SetupError: if actors need GPUs, and the cluster has none.
    """
    if options.workers is not None:
        return options.workers
    resources = ray.cluster_resources()
    if options.gpus:
        found = int(resources.get("GPU", 0) / options.gpus)
        if not found:
            raise SetupError("the Ray cluster has no GPU; use --device cpu")
        return found
    return max(int(resources.get("CPU", 1)), 1)


def fit(ray: Any, share: float, actors: int) -> float:
    """CPUs per actor, so that all actors fit on the smallest number of nodes that there is."""
    total = ray.cluster_resources().get("CPU", 1.0)
    return float(max(min(share, math.floor(1000 * share * total / actors) / 1000), 0.001))


def describe_ray_error(error: Exception) -> str:
    """The first line of an error of Ray; its messages have many."""
    text = str(error)
    if "No module named 'curate" in text:
        return "a node has no package curate-dataset; install the same release on every node"
    return " ".join((text.strip() or type(error).__name__).splitlines()[0].split())[:200]
