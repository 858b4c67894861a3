"""The signature of a manifest's ``SHA256SUMS``: an SSH signature, made and checked by OpenSSH.

``ssh-keygen -Y`` signs with the key that people already have (files, agents and hardware keys),
and anyone can check the signature without this package.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.core.errors import DataError, SetupError
from curate.core.records import escape_unprintable
from curate.storage.atomic import save_bytes
from curate.storage.regular import read_regular

NAMESPACE = "curate-dataset"
"""What the signature is for; OpenSSH refuses it for anything else."""

ENDING = ".sig"
_KEY = re.compile(r"((?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,3})(?: .*)?")
_FORM = re.compile(
    rb"-----BEGIN SSH SIGNATURE-----\n(?:[A-Za-z0-9+/=]{1,76}\n)+-----END SSH SIGNATURE-----\n"
)
_LARGEST = 8 << 10
_LARGEST_KEYS = 1 << 20
_SECONDS = 60
_PROMPT = "Enter passphrase: "
_GIVE = "give a private SSH key, or a public key whose private key an agent holds"


@dataclass(frozen=True, slots=True)
class Signature:
    """The signature of a file.

    Args:
        key: fingerprint of the key that signed, if the signature is valid.
        trusted: whether that is one of the keys asked for.
        problem: what is wrong, or None.
        present: whether there is a signature.
    """

    key: str | None = None
    trusted: bool = False
    problem: str | None = None
    present: bool = False

    def to_text(self) -> str:
        """What the signature states, in one line."""
        if self.problem is not None:
            return f"Signature: {self.problem}."
        if self.key is not None and self.trusted:
            return f"Signed by the key {self.key}, one of those of --signed-by."
        if self.key is not None:
            return f"Signed by the key {self.key}; --signed-by FILE checks whose it is."
        if self.present:
            return "Signed; the signature was not checked, because ssh-keygen is not installed."
        return (
            "Not signed: digests show accidents, and changes by people who cannot write OUT. "
            "Sign with `curate manifest checksum OUT --sign KEY`."
        )


def check_key(key: Path) -> None:
    """Refuse a key that cannot sign, before any work is done.

    A key with a passphrase is accepted where a terminal can ask for it, and a hardware key is
    not tried.

    Raises:
        DataError: if the file does not exist or cannot sign.
        SetupError: if OpenSSH is not installed.
    """
    if not key.exists():
        raise DataError(
            f"the key {key} does not exist; make one with `ssh-keygen -t ed25519 -f {key}`"
        )
    if not key.is_file():
        raise DataError(f"the key {key} is not a file; {_GIVE}")
    if b"-SK)" in _start([_find_program(), "-l", "-f", str(key)], b"", _SECONDS).stdout:
        return
    done = _sign(b"", key, may_ask=False)
    if done.returncode != 0 and not (b"passphrase" in done.stderr and _has_terminal()):
        raise _refuse(key, done)


def make_signature(data: bytes, key: Path) -> bytes:
    """Return the signature of the content of a file; asks for a passphrase on the terminal.

    Args:
        data: the content.
        key: a private key, or a public key whose private key an agent holds.

    Raises:
        DataError: if the key does not exist or cannot sign.
        SetupError: if OpenSSH is not installed.
    """
    done = _sign(data, key, may_ask=True)
    if done.returncode != 0 or not _FORM.fullmatch(done.stdout):
        raise _refuse(key, done)
    return done.stdout


def sign(path: Path, key: Path) -> None:
    """Sign a file with an SSH key, to ``FILE.sig``; raises like `make_signature`."""
    save_bytes(path.with_name(path.name + ENDING), make_signature(path.read_bytes(), key))


def check_signature(path: Path, signed_by: Path | None = None) -> Signature:
    """Check the signature of a file.

    Args:
        path: the file.
        signed_by: a file of public keys, one a line, of which one must have signed; None to
            check only that the signature belongs to the file.

    Raises:
        DataError: if the file of keys cannot be used.
        SetupError: if OpenSSH is not installed, and keys are given.
    """
    keys = load_keys(signed_by) if signed_by is not None else ()
    try:
        data = read_regular(path.with_name(path.name + ENDING))
    except FileNotFoundError:
        return Signature(problem=None if signed_by is None else "it is not signed")
    except OSError as error:
        return Signature(problem=f"the signature cannot be read: {error.strerror}", present=True)
    if len(data) > _LARGEST or not _FORM.fullmatch(data):
        return Signature(problem="the signature is not one of ssh-keygen", present=True)
    if signed_by is None and shutil.which("ssh-keygen") is None:
        return Signature(present=True)
    return _check(path, keys)


def load_keys(path: Path) -> tuple[str, ...]:
    """Load public keys, one a line: a ``.pub`` file, or several of them.

    Raises:
        DataError: if the file cannot be read or has anything else.
    """
    try:
        data = read_regular(path, follow_links=True)
        text = data.decode() if len(data) <= _LARGEST_KEYS else ""
    except OSError as error:
        raise DataError(
            f"the keys {path} cannot be read: {error.strerror}; give the .pub file of the key "
            "that signed"
        ) from None
    except UnicodeDecodeError:
        text = ""
    lines = [line.strip() for line in text.splitlines()]
    found = [_KEY.fullmatch(line) for line in lines if line and not line.startswith("#")]
    if not found or not all(found):
        raise DataError(
            f"{path} is not a file of public keys; give the .pub file of the key that signed"
        )
    return tuple(match[1] for match in found if match is not None)


def _check(path: Path, keys: Sequence[str]) -> Signature:
    """Check a signature against keys, or, without any, only that it belongs to the file."""
    file = str(path.with_name(path.name + ENDING))
    if not keys:
        done = _run(["check-novalidate", "-s", file], path)
    else:
        with tempfile.TemporaryDirectory(prefix="curate-keys-") as folder:
            allowed = Path(folder, "allowed_signers")
            allowed.write_text("".join(f"{NAMESPACE} {key}\n" for key in keys), encoding="ascii")
            rules = ["-f", str(allowed), "-I", NAMESPACE]
            done = _run(["verify", *rules, "-s", file], path)
    key = re.search(rb"SHA256:[A-Za-z0-9+/]{43}", done.stdout)
    if done.returncode == 0 and key is not None:
        return Signature(key=key[0].decode(), trusted=bool(keys), present=True)
    valid = _check(path, ()) if keys else None
    if valid is not None and valid.key is not None:
        return Signature(problem=f"it is signed by another key, {valid.key}", present=True)
    return Signature(
        problem="the signature is not of this file; sign again with `curate manifest checksum OUT "
        "--sign KEY`",
        present=True,
    )


def _find_program() -> str:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise SetupError(
            "signatures need ssh-keygen of OpenSSH 8.2 or newer; install the package openssh-client"
        )
    return program


def _sign(data: bytes, key: Path, may_ask: bool) -> subprocess.CompletedProcess[bytes]:
    command = [_find_program(), "-Y", "sign", "-f", str(key), "-n", NAMESPACE]
    return _start(command, data, None if may_ask else _SECONDS, may_ask)


def _refuse(key: Path, done: subprocess.CompletedProcess[bytes]) -> DataError:
    advice = _GIVE
    if b"passphrase" in done.stderr:
        advice = "add it to an agent with `ssh-add`, or run the command in a terminal"
    return DataError(f"the key {key} cannot sign: {_last_line(done)}; {advice}")


def _has_terminal() -> bool:
    """Whether OpenSSH can ask for a passphrase."""
    try:
        with Path("/dev/tty").open("rb"):
            return True
    except OSError:
        return False


def _run(arguments: Sequence[str], path: Path) -> subprocess.CompletedProcess[bytes]:
    """Run ``ssh-keygen -Y`` with a file as its input."""
    action, *rest = arguments
    command = [_find_program(), "-Y", action, *rest, "-n", NAMESPACE]
    return _start(command, path.read_bytes(), _SECONDS)


def _start(
    command: Sequence[str], data: bytes, seconds: float | None, may_ask: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """Run a program of OpenSSH, which has a terminal only if it may ask on one."""
    try:
        return subprocess.run(  # noqa: S603 - the program of OpenSSH
            command, input=data, capture_output=True, timeout=seconds,
            start_new_session=not may_ask, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise SetupError(f"ssh-keygen did not finish in {seconds:.0f} s; try again") from None


def _last_line(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return escape_unprintable(lines[-1].removeprefix(_PROMPT)) if lines else "ssh-keygen failed"
