"""What a reviewer decides about one image, and its form in the journal and in the page.

Boxes of a decision are in pixels of the image as stored; the page works with the upright
image. Nothing here reads or writes a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from curate.core.errors import DataError, describe_malformed
from curate.core.faces import Face
from curate.core.geometry import Box, clip, covered, grow, iou, to_stored

STATES = ("kept", "changed", "added", "rejected")
"""What can become of a box: as the detector gave it, moved or resized, new, or no face."""

ROLES = ("queue", "sample", "check")
"""Why an image was shown: to correct it, as part of a sample, or to measure the reviewer."""

MAX_BOXES = 2_000
"""Most boxes that one decision may hold."""

VISIBLE = 0.75
"""A face counts as hidden where at least this share of its box lies in one hidden region."""

_SLACK = 1.0  # pixels by which a box may stick out of the image; it is clipped


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedFace:
    """One box of a decision.

    Args:
        box: in pixels of the image as stored.
        state: one of `STATES`.
        origin: index of the proposed face that it was, or None for an added box.
        frames: indices of the frames that it is in, ascending, from 0.
    """

    box: Box
    state: str
    origin: int | None = None
    frames: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one reviewer decided about one image.

    Args:
        id: the image's id in the dataset.
        sha256: digest of the bytes that the reviewer saw.
        size: width and height of the image as stored, pixels.
        reviewer: the reviewer's name.
        time: when it was decided, UTC, ISO 8601.
        role: one of `ROLES`.
        via: ``single`` for one image on the page, ``sheet`` for the contact sheet.
        seconds: time that the image was shown.
        faces: every box, those that were rejected included.
        removed: index of the proposed face that was not shown, for a check; else None.
        found: of a sample, whether a face is visible; of a check, whether it was found;
            else None.
    """

    id: str
    sha256: str
    size: tuple[int, int]
    reviewer: str
    time: str
    role: str = "queue"
    via: str = "single"
    seconds: float = 0.0
    faces: tuple[ReviewedFace, ...] = ()
    removed: int | None = None
    found: bool | None = None

    @property
    def accepted(self) -> tuple[ReviewedFace, ...]:
        """The boxes that are faces."""
        return tuple(face for face in self.faces if face.state != "rejected")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for a line of JSON."""
        plain = asdict(self)
        plain["size"] = list(self.size)
        plain["faces"] = [
            {
                "xyxy": list(face.box.xyxy),
                "state": face.state,
                "origin": face.origin,
                "frames": list(face.frames),
            }
            for face in self.faces
        ]
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Decision:
        """Build a decision from plain values.

        Raises:
            DataError: if a key is missing, a value is of the wrong kind or out of range, or
                there are more than `MAX_BOXES` boxes.
        """
        try:
            width, height = values["size"]
            if len(values["faces"]) > MAX_BOXES:
                raise ValueError(f"more than {MAX_BOXES} boxes")
            return cls(
                id=str(values["id"]),
                sha256=str(values["sha256"]),
                size=(_count(width, 1), _count(height, 1)),
                reviewer=str(values["reviewer"]),
                time=str(values["time"]),
                role=_choose(values["role"], ROLES),
                via=_choose(values["via"], ("single", "sheet")),
                seconds=_seconds(values["seconds"]),
                faces=tuple(
                    ReviewedFace(
                        box=Box(*map(float, face["xyxy"])),
                        state=_choose(face["state"], STATES),
                        origin=None if face["origin"] is None else _count(face["origin"]),
                        frames=tuple(map(_count, face["frames"])),
                    )
                    for face in values["faces"]
                ),
                removed=None if values["removed"] is None else _count(values["removed"]),
                found=None if values["found"] is None else bool(values["found"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"a decision cannot be read: {describe_malformed(error)}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How an image is shown: what turns boxes of the page into boxes of the stored image.

    Args:
        width: of the image as stored, pixels.
        height: of the image as stored, pixels.
        orientation: EXIF orientation, 1–8.
        frames: how many frames it has.
        sha256: digest of its bytes.
    """

    width: int
    height: int
    orientation: int
    frames: int
    sha256: str

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height of the image as shown, pixels."""
        size = (self.width, self.height)
        return (size[1], size[0]) if self.orientation >= 5 else size


def parse_faces(
    entries: Any, proposed: Sequence[Face], view: View, hidden: int | None = None
) -> tuple[ReviewedFace, ...]:
    """The boxes that the page sent, in stored pixels, every proposed face among them.

    Args:
        entries: a list of objects with ``state``, ``origin`` and, unless the box is as
            proposed, ``xyxy`` in upright pixels; ``frames`` is optional.
        proposed: the detector's faces, in stored pixels.
        view: how the image was shown.
        hidden: index of the proposed face that was not shown, or None.

    Raises:
        DataError: if a box lies outside the image or is empty, an index is wrong, or
            what the page was shown is not all answered.
    """
    if not isinstance(entries, list) or len(entries) > MAX_BOXES:
        raise DataError(f"boxes must be a list of at most {MAX_BOXES}")
    faces = tuple(_parse_face(each, proposed, view) for each in entries)
    answered = [face.origin for face in faces if face.origin is not None]
    shown = [index for index in range(len(proposed)) if index != hidden]
    if sorted(answered) != shown:
        raise DataError("the answer does not cover every proposed box once; reload the page")
    return faces


def _parse_face(value: Any, proposed: Sequence[Face], view: View) -> ReviewedFace:
    if not isinstance(value, Mapping):
        raise DataError("a box is not an object with state and xyxy")
    state, origin = value.get("state"), value.get("origin")
    if state not in STATES:
        raise DataError(f"a box has the state {str(state)[:40]!r}; want {', '.join(STATES)}")
    if (origin is None) != (state == "added"):
        raise DataError("a box that was added has no origin, and every other box has one")
    if origin is not None and (type(origin) is not int or not 0 <= origin < len(proposed)):
        raise DataError(f"a box has the origin {str(origin)[:40]!r}, which is not a proposed box")
    frames = _parse_frames(value.get("frames") or (), view.frames)
    if state in ("kept", "rejected"):
        return _keep(proposed[origin or 0], origin or 0, view.frames, state)
    return ReviewedFace(
        box=_parse_box(value.get("xyxy"), view), state=state, origin=origin, frames=frames
    )


def _parse_box(xyxy: Any, view: View) -> Box:
    width, height = view.upright_size
    try:
        numbers = [float(value) for value in xyxy]
        box = Box(*numbers)
    except (DataError, TypeError, ValueError, OverflowError):
        raise DataError(f"{str(xyxy)[:80]} is not a box; want x0, y0, x1, y1") from None
    inside = clip(box, width, height)
    outside = max(
        -box.x0, -box.y0, box.x1 - width, box.y1 - height
    ) > _SLACK  # fmt: skip
    if outside or inside.is_empty:
        shown = ", ".join(f"{value:g}" for value in box.xyxy)
        raise DataError(f"box ({shown}) lies outside the image of {width}×{height} pixels")
    if min(inside.width, inside.height) < 1:
        raise DataError("a box is smaller than one pixel; draw it again")
    return to_stored(inside, view.orientation, view.width, view.height)


def _keep(face: Face, origin: int, frames: int, state: str = "kept") -> ReviewedFace:
    """A proposed face as it is; one without frames is in every one."""
    named = face.frames or tuple(range(frames))
    return ReviewedFace(box=face.box, state=state, origin=origin, frames=named)


def _parse_frames(value: Any, frames: int) -> tuple[int, ...]:
    """The frames of a box; every one where none are named."""
    if not isinstance(value, (list, tuple)) or not all(
        type(frame) is int and 0 <= frame < frames for frame in value
    ):
        raise DataError(f"a box is in frames that are not there; the image has {frames}")
    return tuple(sorted(set(value))) or tuple(range(frames))


def accept_all(proposed: Sequence[Face], frames: int) -> tuple[ReviewedFace, ...]:
    """Every proposed face as it is: what one key on the contact sheet decides."""
    return tuple(_keep(face, index, frames) for index, face in enumerate(proposed))


def shows_face(decision: Decision, proposed: Sequence[Face], margin: float) -> bool:
    """Whether the reviewer found a face that publishing the proposed boxes would not hide.

    Args:
        decision: what was decided.
        proposed: the boxes that would be hidden, in stored pixels.
        margin: growth of a box before it hides, as a share of its longer side.
    """
    regions = [(grow(face.box, margin), face.frames) for face in proposed]
    return any(
        not any(
            covered(face.box, region) >= VISIBLE and _covers(frames, face.frames)
            for region, frames in regions
        )
        for face in decision.accepted
        if face.state in ("added", "changed")
    )


def _covers(frames: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a region is in every frame that a face is in; one without frames is in all."""
    return not frames or set(wanted) <= set(frames)


def finds_removed(decision: Decision, proposed: Sequence[Face], least: float = 0.3) -> bool:
    """Whether the reviewer drew a box around the face that a check had removed.

    Args:
        decision: of a check.
        proposed: the detector's faces.
        least: overlap, as intersection over union, from which two boxes are the same face.
    """
    if decision.removed is None:
        return False
    target = proposed[decision.removed].box
    return any(
        iou(face.box, target) >= least or covered(target, face.box) >= VISIBLE
        for face in decision.accepted
        if face.state == "added"
    )


def final_faces(
    decisions: Sequence[Decision], proposed: Sequence[Face]
) -> tuple[tuple[Face, ...], str]:
    """The faces of one image after review, and the image's state.

    Two blind reviewers' boxes are united: a box stays unless everyone rejected it. A check,
    in which a box was not shown, can only add boxes.

    Args:
        decisions: the last one of every reviewer; may be empty.
        proposed: the detector's faces.

    Returns:
        The faces and ``reviewed``, ``sampled`` or ``not looked at``.

    Raises:
        DataError: if a decision is about a box that was not proposed.
    """
    for decision in decisions:
        origins = [face.origin for face in decision.faces if face.origin is not None]
        if max(origins, default=-1) >= len(proposed):
            raise DataError(f"a decision about {decision.id!r} has a box that was not proposed")
    real = [decision for decision in decisions if decision.role != "check"]
    found: dict[tuple[Box, tuple[int, ...]], Face] = {}
    if real:
        for face in (face for decision in real for face in decision.accepted):
            named = _name(face, proposed)
            found.setdefault((named.box, named.frames), named)
    else:
        found = {(face.box, face.frames): face for face in proposed}
    for decision in decisions:
        if decision.role == "check":
            for extra in _unmatched(decision, proposed):
                found.setdefault((extra.box, extra.frames), extra)
    state = "not looked at"
    if real:
        state = "reviewed" if any(each.role == "queue" for each in real) else "sampled"
    return tuple(found.values()), state


def _unmatched(decision: Decision, proposed: Sequence[Face]) -> list[Face]:
    return [
        _name(face, proposed)
        for face in decision.accepted
        if face.state == "added"
        and all(iou(face.box, other.box) < 0.3 and covered(face.box, other.box) < VISIBLE
                for other in proposed)
    ]  # fmt: skip


def _name(face: ReviewedFace, proposed: Sequence[Face]) -> Face:
    """A face that a person decided; a detector's support stays where there was any."""
    if face.origin is None:
        return Face(face.box, None, (), "person", face.frames)
    return replace(proposed[face.origin], box=face.box, decided_by="person", frames=face.frames)


def _count(value: Any, least: int = 0) -> int:
    """A whole number of 32 bits, as tables of faces hold it."""
    if type(value) is not int or not least <= value < 2**31:
        raise ValueError(f"{str(value)[:40]} is not a number from {least:d}")
    return value


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not 0 <= seconds < 1e9:
        raise ValueError(f"{seconds} is not a time in seconds")
    return seconds


def _choose(value: Any, known: Sequence[str]) -> str:
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(known)}")
    return str(value)
