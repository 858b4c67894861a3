"""A review in progress: what the page asks for, and what becomes of its answers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from curate.core.errors import CurateError, DataError, WithheldError
from curate.core.faces import Face
from curate.core.geometry import Box, to_upright
from curate.core.records import escape_unprintable
from curate.review.decisions import (
    Decision,
    ReviewedFace,
    View,
    accept_all,
    finds_removed,
    parse_faces,
    shows_face,
)
from curate.review.items import Answer, Item, Items
from curate.review.journal import Journal
from curate.review.pictures import Pictures, Shown

SHEET = 20
"""Images on the contact sheet."""

_AHEAD = 64  # most images assigned to one page in one call


class ConflictError(DataError):
    """Someone else has decided the image since the page was shown it."""


class ChangedImageError(DataError):
    """The image is not the one that its faces were found in, or that was shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a review is about.

    Args:
        review: identifier of this review, for the page.
        dataset: the dataset's name, for the page.
        reviewer: the reviewer's name where the page sends none.
        task: ``faces`` (correct boxes), ``outputs`` (find visible faces after blurring)
            or ``sample`` (state a bound).
        margin: growth of a box before it hides, as a share of its longer side.
    """

    review: str
    dataset: str
    reviewer: str
    task: str = "faces"
    margin: float = 0.1


@dataclass(slots=True)
class _Counts:
    """Counts over all last decisions."""

    done: int = 0
    faces: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, decision: Decision, sign: int) -> None:
        self.done += sign
        self.seconds += sign * decision.seconds
        for face in decision.faces:
            self.faces[face.state] += sign


class LiveReview:
    """A review in progress; safe to use from several threads.

    Args:
        items: the images.
        journal: where decisions go first.
        pictures: what shows the images.
        setting: what the review is about.

    Attributes:
        outcomes: what was found in the images of a sample, by number and reviewer.
        measure: the result of a sample so far, as plain values; None where there is no sample.
    """

    def __init__(
        self, items: Items, journal: Journal, pictures: Pictures, setting: Setting
    ) -> None:
        self.items, self.journal, self.pictures, self.setting = items, journal, pictures, setting
        self.outcomes: dict[int, dict[str, bool]] = {}
        self.measure: Callable[[], Mapping[str, Any]] | None = None
        self._counts = _Counts()
        self._lock = threading.Lock()
        self._images = items.count()

    def replay(self, number: int, event: Mapping[str, Any]) -> bool:
        """Take over a line of the journal, without writing it again.

        Args:
            number: the line's number.
            event: the line.

        Returns:
            Whether it is about an image of this queue.
        """
        if event["event"] not in ("decision", "withdrawal"):
            return True
        item = self.items.find(str(event.get("id")))
        if item is None:
            return False
        decision = Decision.from_dict(event) if event["event"] == "decision" else None
        reviewer = decision.reviewer if decision else str(event["reviewer"])
        self._take(item, reviewer, Answer(number, decision))
        return True

    def describe(self, reviewer: str) -> dict[str, Any]:
        """Progress, and the result of a sample so far."""
        with self._lock:
            counts, faces = self._counts, dict(self._counts.faces)
            status = {
                "review": self.setting.review,
                "dataset": self.setting.dataset,
                "revision": self.journal.lines,
                "task": self.setting.task,
                "reviewer": reviewer,
                "images": self._images,
                "open": self.items.count_open(reviewer),
                "not_shown": self.items.not_shown,
                "done": counts.done,
                "added": faces.get("added", 0),
                "rejected": faces.get("rejected", 0),
                "changed": faces.get("changed", 0),
                "seconds": round(counts.seconds, 1),
            }
            if self.measure is not None:
                status["bound"] = dict(self.measure())
        return status

    def assign(
        self, page: tuple[str, str], count: int, held: Sequence[int], confident: bool = False
    ) -> list[dict[str, int]]:
        """The next images for one page, each with its etag.

        Args:
            page: the reviewer's name, and the page's identifier.
            count: how many are wanted.
            held: numbers that the page has already.
            confident: whether they are for the contact sheet.
        """
        most = min(count, SHEET if confident else _AHEAD)
        numbers = self.items.assign(page, most, time.monotonic(), held, confident)
        return [
            {"number": number, "etag": self.items.answer(number, page[0]).etag}
            for number in numbers
        ]

    def release(self, client: str) -> None:
        """Let others have the images of a page that was closed."""
        self.items.release(client)

    def show(self, number: int, reviewer: str) -> tuple[dict[str, Any], bytes]:
        """An image and everything that the page shows about it.

        Raises:
            DataError: if there is no such image, or it cannot be shown; it is then removed
                from the queue.
        """
        item = self._item(number)
        shown = self._look(item)
        answer = self.items.answer(number, reviewer)
        view = shown.view
        width, height = view.upright_size
        known = {
            "number": number,
            "etag": answer.etag,
            "name": escape_unprintable(item.record.id),
            "split": item.record.split,
            "category": item.record.category,
            "width": width,
            "height": height,
            "frames": view.frames,
            "sha256": view.sha256,
            "boxes": [
                _describe_face(face, index, view)
                for index, face in enumerate(item.faces)
                if index != item.removed
            ],
            "decided": _describe_answer(answer.decision, view) if answer.decision else None,
        }
        return known, shown.frames[0]

    def show_frame(self, number: int, frame: int, full: bool) -> bytes:
        """One frame as JPEG.

        Raises:
            DataError: if there is no such image or frame.
        """
        item = self._item(number)
        shown = self._look(item)
        if not 0 <= frame < len(shown.frames):
            raise DataError(f"there is no frame {frame} in {item.record.id!r}")
        return self.pictures.show_full(item.record, frame) if full else shown.frames[frame]

    def show_thumbnail(self, number: int) -> bytes:
        """The first frame as a small JPEG."""
        return self._look(self._item(number)).thumbnail

    def decide(self, number: int, reviewer: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Save a decision; it is on the disk when this returns.

        Args:
            number: which image.
            reviewer: who decided.
            body: what the page sent: ``etag``, ``sha256``, ``faces`` and ``seconds``; without
                ``faces`` every proposed box is accepted, as from the contact sheet.

        Raises:
            ConflictError: if someone else has decided the image meanwhile.
            ChangedImageError: if the image has changed.
            DataError: if the answer does not fit the image.
        """
        item = self._item(number)
        shown = self._look(item)
        if body.get("sha256") != shown.view.sha256 or not self._is_current(item, shown):
            self.pictures.forget(item.record)
            raise ChangedImageError(
                f"{item.record.id!r} has changed since it was shown; nothing was saved, "
                "reload it and decide again"
            )
        decision = self._parse(item, reviewer, body, shown.view)
        with self._lock:
            before = self.items.answer(number, reviewer)
            if body.get("etag") != before.etag:
                if before.decision is not None and _is_same(before.decision, decision):
                    return {"etag": before.etag}  # sent again because the answer was lost
                raise ConflictError(_describe_conflict(item, before))
            etag = self.journal.append({"event": "decision", **decision.to_dict()})
            self._take(item, reviewer, Answer(etag, decision))
        return {"etag": etag}

    def withdraw(self, number: int, reviewer: str, etag: Any) -> dict[str, Any]:
        """Make an image open again.

        Raises:
            ConflictError: if someone else has decided it meanwhile.
        """
        item = self._item(number)
        with self._lock:
            before = self.items.answer(number, reviewer)
            if etag != before.etag:
                raise ConflictError(_describe_conflict(item, before))
            if before.decision is None:
                return {"etag": before.etag}
            event = {
                "event": "withdrawal", "id": item.record.id, "reviewer": reviewer,
                "time": now(),
            }  # fmt: skip
            after = self.journal.append(event)
            self._take(item, reviewer, Answer(after, None))
        return {"etag": after}

    def _take(self, item: Item, reviewer: str, answer: Answer) -> None:
        before = self.items.answer(item.number, reviewer).decision
        if before is not None:
            self._counts.add(before, -1)
        if answer.decision is not None:
            self._counts.add(answer.decision, 1)
        self.items.put(item.number, reviewer, answer)
        if item.role == "queue":
            return
        answers = self.outcomes.setdefault(item.number, {})
        if not self.items.blind:
            answers.clear()
        answers.pop(reviewer, None)
        if answer.decision is not None and answer.decision.found is not None:
            answers[reviewer] = answer.decision.found

    def _parse(self, item: Item, reviewer: str, body: Mapping[str, Any], view: View) -> Decision:
        seconds = body.get("seconds")
        via = "single" if "faces" in body else "sheet"
        if via == "sheet":
            faces: tuple[ReviewedFace, ...] = accept_all(item.faces, view.frames)
        else:
            faces = parse_faces(body["faces"], item.faces, view, item.removed)
        decision = Decision(
            id=item.record.id,
            sha256=view.sha256,
            size=(view.width, view.height),
            reviewer=reviewer,
            time=now(),
            role=item.role,
            via=via,
            seconds=_limit_seconds(seconds),
            faces=faces,
            removed=item.removed,
        )
        if item.role == "check":
            return replace(decision, found=finds_removed(decision, item.faces))
        if item.role == "sample":
            visible = shows_face(decision, item.faces, self.setting.margin)
            return replace(decision, found=visible)
        return decision

    def _item(self, number: int) -> Item:
        item = self.items.get(number)
        if item is None:
            raise DataError(f"there is no image {number} in this review")
        return item

    def _look(self, item: Item) -> Shown:
        """Show an image, or take it out of the queue with the reason."""
        try:
            shown = self.pictures.show(item.record)
        except (WithheldError, DataError) as error:
            self.items.bar(item.number, str(error))
            raise DataError(f"{item.record.id!r} cannot be shown: {error}") from None
        if item.sha256 not in (None, shown.view.sha256):
            self.pictures.forget(item.record)
            why = "has changed since its faces were found; run curate detect again"
            self.items.bar(item.number, why)
            raise ChangedImageError(f"{item.record.id!r} {why}")
        return shown

    def _is_current(self, item: Item, shown: Shown) -> bool:
        try:
            return self.pictures.is_current(item.record, shown)
        except CurateError:
            return False


def _describe_face(face: Face, index: int, view: View) -> dict[str, Any]:
    return {
        "origin": index,
        "xyxy": _round(to_upright(face.box, view.orientation, view.width, view.height)),
        "score": face.confidence,
        "detectors": list(face.detectors),
        "by": face.decided_by,
        "frames": list(face.frames) or list(range(view.frames)),
    }


def _describe_answer(decision: Decision, view: View) -> dict[str, Any]:
    return {
        "reviewer": decision.reviewer,
        "time": decision.time,
        "faces": [
            {
                "state": face.state,
                "origin": face.origin,
                "frames": list(face.frames),
                "xyxy": _round(to_upright(face.box, view.orientation, view.width, view.height)),
            }
            for face in decision.faces
        ],
    }


def _round(box: Box) -> list[float]:
    return [round(value, 2) for value in box.xyxy]


def _describe_conflict(item: Item, answer: Answer) -> str:
    name = item.record.id
    if answer.decision is None:
        return f"the decision about {name!r} was withdrawn in another window; reload it"
    return (
        f"{name!r} was decided by {answer.decision.reviewer} at {answer.decision.time} in the "
        "meantime; nothing was overwritten, reload it to change that decision"
    )


def _is_same(a: Decision, b: Decision) -> bool:
    return (a.reviewer, a.sha256, a.faces) == (b.reviewer, b.sha256, b.faces)


def _limit_seconds(value: Any) -> float:
    """A time from the page, seconds; 0 where it is none, and at most an hour."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        return 0.0
    return round(float(min(value, 3600)), 3)


def now() -> str:
    """The time, UTC, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
