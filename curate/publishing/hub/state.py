"""How far an upload is: a small file that survives the process."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from curate.core.errors import DataError
from curate.storage.atomic import save_text

VERSION = 1
_NAME = "push.json"


@dataclass(slots=True, kw_only=True)
class State:
    """How far an upload is.

    Args:
        repo_id: where it goes.
        head: the last commit that is known to be this upload's, or the one it began on.
        parent: parent of a commit that was asked for and not yet confirmed, or None.
        title: title of that commit, or None.
    """

    repo_id: str
    head: str | None = None
    parent: str | None = None
    title: str | None = None

    def begin(self, folder: Path, parent: str, title: str) -> None:
        """Note that a commit is asked for, before it is."""
        self.parent, self.title = parent, title
        save_state(self, folder)

    def finish(self, folder: Path, head: str) -> None:
        """Note that the repository is at a commit of this upload."""
        self.head, self.parent, self.title = head, None, None
        save_state(self, folder)


def load_state(folder: Path, repo_id: str) -> State:
    """The state in a folder, or a new one.

    Raises:
        DataError: if it is damaged or of another repository.
    """
    path = folder / _NAME
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        version = value.pop("version")
        state = State(**value)
    except FileNotFoundError:
        return State(repo_id=repo_id)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DataError(f"{path} is damaged; remove it and push again") from None
    if version != VERSION or state.repo_id != repo_id:
        raise DataError(f"{path} belongs to a push to {state.repo_id}; give another --state folder")
    return state


def save_state(state: State, folder: Path) -> None:
    """Write the state, so that a reader sees all of it or what was there before."""
    folder.mkdir(parents=True, exist_ok=True)
    value = {"version": VERSION, **asdict(state)}
    save_text(folder / _NAME, json.dumps(value, indent=2, sort_keys=True) + "\n")
