"""Retries of requests to the Hub, and its errors as one line each."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from curate.core.errors import CurateError, DataError, SetupError
from curate.core.records import escape_unprintable

ATTEMPTS = 8
LONGEST_WAIT_S = 300.0
_RETRIED = (408, 425, 429, 500, 502, 503, 504)
_T = TypeVar("_T")

sleep = time.sleep


class MovedError(DataError):
    """The repository's head is not the commit that the upload left."""


class MissingRepositoryError(DataError):
    """There is no such repository, or the token may not see it."""


def retry(call: Callable[[], _T], notify: Callable[[str], None], doing: str, repo_id: str) -> _T:
    """Call again after errors that pass; every other error becomes one line.

    Args:
        call: what is done; safe to do again.
        notify: called with a line before each wait.
        doing: what is done, for messages.
        repo_id: where.
    """
    for attempt in range(ATTEMPTS):
        try:
            with explaining(doing, repo_id):
                return call()
        except _PassingError as error:
            if attempt == ATTEMPTS - 1:
                break
            pause(error.wait, attempt, notify, str(error))
            last = error
    raise SetupError(
        f"{doing} {repo_id} failed {ATTEMPTS} times ({last}); run the same command again to go on"
    )


def pause(wait: float | None, attempt: int, notify: Callable[[str], None], why: str) -> None:
    """Wait before another attempt, as long as the server asks, else longer each time."""
    seconds = min(LONGEST_WAIT_S, 2.0**attempt if wait is None else wait)
    notify(f"{why}; trying again in {seconds:g} s")
    sleep(seconds)


class _PassingError(CurateError):
    """An error that another attempt may not meet."""

    def __init__(self, text: str, wait: float | None) -> None:
        super().__init__(text)
        self.wait = wait


@contextmanager
def explaining(doing: str, repo_id: str) -> Iterator[None]:
    """Turn what the client raises into one line for the user.

    Raises:
        _PassingError: where another attempt makes sense.
        CurateError: otherwise.
    """
    try:
        yield
    except CurateError:
        raise
    except Exception as error:
        raise _explain(error, doing, repo_id) from error


def is_passing(error: Exception) -> bool:
    """Whether another attempt makes sense."""
    return isinstance(error, _PassingError)


def _explain(error: Exception, doing: str, repo_id: str) -> Exception:
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the client's threads wrap what happened to one file
    names = {kind.__name__ for kind in type(error).__mro__}
    response: Any = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if "TransportError" in names or isinstance(error, ConnectionError | TimeoutError):
        return _PassingError(f"the connection to the Hub failed while {doing}", None)
    if status in _RETRIED:
        wait = _retry_after(response.headers.get("Retry-After"))
        return _PassingError(f"the Hub answered {status} while {doing}", wait)
    if status == 412 or (status == 409 and "commit" in str(error).lower()):
        return MovedError(f"{repo_id}: somebody else has committed since")
    if "GatedRepoError" in names:
        return SetupError(
            f"{repo_id} is gated; ask for access at its page, then log in with `hf auth login`"
        )
    if "RevisionNotFoundError" in names:
        return DataError(f"{repo_id} has no such revision; check the name after '@'")
    if "RepositoryNotFoundError" in names:
        return MissingRepositoryError(
            f"there is no dataset {repo_id!r}, or your token may not see it; check the name, "
            "and that you are logged in (`hf auth login`)"
        )
    return _explain_status(status, error, doing, repo_id)


def _explain_status(status: int | None, error: Exception, doing: str, repo_id: str) -> Exception:
    message = escape_unprintable(_redact(" ".join(str(error).split()))[:200])
    lines = {
        401: "the token is not valid; run `hf auth login` with one that has write permission",
        402: "the account's storage quota is used up; free space or upgrade it, then run again",
        403: "the token has no permission for this; use one with write permission, or ask the "
        "owner (or the quota of private storage is used up)",
        404: "it does not exist; check owner and name",
        413: "the request is too large for the Hub; use --as parquet, which sends fewer files",
        507: "the account's storage quota is used up; free space or upgrade it, then run again",
    }
    if status in lines:
        return SetupError(f"{doing} {repo_id}: {lines[status]} (HTTP {status})")
    if isinstance(error, OSError) and status is None and error.errno is not None:
        return error
    return DataError(f"{doing} {repo_id} failed: {message}")


def _redact(text: str) -> str:
    """Text without the token, which a server or a proxy may repeat."""
    from huggingface_hub import get_token

    token = get_token()
    return text.replace(token, "[token]") if token else text


def _retry_after(value: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header: a number, or a date."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())
