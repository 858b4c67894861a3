"""Near-duplicates as a report: JSON, page and text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import curate
from curate.report.document import Report
from curate.report.values import Block, Page, Section, Table

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
_SHOWN = 50
_NAMED = 5
"""Groups that the terminal names."""


@dataclass(frozen=True, slots=True)
class Member:
    """An image of a group.

    Args:
        id: its id.
        split: its split, or None.
        faces: its faces; None where no detector ran.
    """

    id: str
    split: str | None
    faces: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """Images that show one picture.

    Args:
        images: of SOURCE, two or more, sorted by id; one where only an output is similar.
        unblurred: ids of outputs without a hidden face.
    """

    images: tuple[Member, ...]
    unblurred: tuple[str, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that it is in."""
        return tuple(sorted({each.split for each in self.images if each.split is not None}))

    @property
    def is_across_splits(self) -> bool:
        """Whether copies of one picture are in different splits."""
        return len(self.splits) > 1

    @property
    def with_faces(self) -> tuple[str, ...]:
        """Images in which a face is known."""
        return tuple(each.id for each in self.images if each.faces)

    @property
    def without_faces(self) -> tuple[str, ...]:
        """Images in which none was found."""
        return tuple(each.id for each in self.images if each.faces == 0)

    @property
    def is_contradicted(self) -> bool:
        """Whether one copy has a face and another has none."""
        return bool(self.with_faces and self.without_faces)

    @property
    def leaks(self) -> tuple[str, ...]:
        """Outputs without a hidden face whose near-duplicate in SOURCE has one."""
        return tuple(
            name for name in self.unblurred if any(other != name for other in self.with_faces)
        )


@dataclass(frozen=True, repr=False)
class Duplicates(Report):
    """The near-duplicates of a dataset.

    Args:
        layout: SOURCE's layout.
        images: images of SOURCE.
        unreadable: those that could not be decoded.
        plain: those with too little detail for a hash, compared by their bytes alone.
        threshold: bits in which two hashes may differ.
        pairs: verified pairs.
        unverified: pairs whose hashes are near and whose pictures are not.
        groups: groups of two or more, and outputs that leak.
        knows_faces: whether OUT or a file gave the faces of SOURCE; without, which copies have
            a face was not checked.
        has_outputs: whether outputs were compared with SOURCE.
    """

    layout: str
    images: int
    unreadable: int
    plain: int
    threshold: int
    pairs: int
    unverified: int
    groups: tuple[Group, ...]
    knows_faces: bool = True
    has_outputs: bool = True

    @property
    def copies(self) -> int:
        """Images that could go without losing a picture."""
        return sum(len(group.images) - 1 for group in self.groups)

    def to_dict(self) -> Mapping[str, Any]:
        """Plain values, as in ``manifests/duplicates-1.schema.json``."""
        groups = [group for group in self.groups if len(group.images) > 1]
        return {
            "version": VERSION,
            "source": {"layout": self.layout},
            "images": self.images,
            "unreadable": self.unreadable,
            "plain": self.plain,
            "threshold": self.threshold,
            "pairs": self.pairs,
            "unverified": self.unverified,
            "copies": self.copies,
            "groups": [[each.id for each in group.images] for group in groups],
            "across_splits": [
                {"splits": list(group.splits), "images": [each.id for each in group.images]}
                for group in groups
                if group.is_across_splits
            ],
            "contradictions": [
                {"with": list(group.with_faces), "without": list(group.without_faces)}
                for group in groups
                if group.is_contradicted
            ]
            if self.knows_faces
            else None,
            "unblurred": [
                {
                    "output": name,
                    "near_duplicates": [other for other in group.with_faces if other != name],
                }
                for group in self.groups
                for name in group.leaks
            ]
            if self.has_outputs
            else None,
        }

    def to_text(self) -> str:
        """The main figures, and the first groups."""
        lines, groups = list(self._figures()), self.to_dict()["groups"]
        for group in groups[:_NAMED]:
            more = f" … and {len(group) - 3:,} more" if len(group) > 3 else ""
            lines.append(f"  {', '.join(group[:3])}{more}")
        if len(groups) > _NAMED:
            lines.append(f"  … and {len(groups) - _NAMED:,} more groups; -o and --html list them")
        return "\n".join(lines)

    def _figures(self) -> Iterator[str]:
        values = self.to_dict()
        unreadable = f", unreadable: {self.unreadable:,}" if self.unreadable else ""
        yield f"Images: {self.images:,}{unreadable}"
        yield f"Near-duplicates: {self.copies:,}, groups: {len(values['groups']):,}"
        yield f"Groups across splits: {len(values['across_splits']):,}"
        for text, found, needs in (
            ("Groups with a face in one copy and none in another", "contradictions",
             "OUT or --faces"),
            ("Unblurred outputs whose near-duplicate has a face", "unblurred", "OUT"),
        ):  # fmt: skip
            if values[found] is None:
                yield f"{text}: not checked, requires {needs}"
            else:
                yield f"{text}: {len(values[found]):,}"

    def __repr__(self) -> str:
        groups = sum(len(group.images) > 1 for group in self.groups)
        return (
            f"<Duplicates: {self.copies:,} near-duplicates in {groups:,} groups, of "
            f"{self.images:,} images>"
        )

    def to_frame(self) -> pd.DataFrame:
        """The images of all groups: a row per image, with the number of its group."""
        import pandas as pd

        rows = [
            {"group": number, "id": each.id, "split": each.split, "faces": each.faces}
            for number, group in enumerate(self.groups)
            for each in group.images
        ]
        return pd.DataFrame(rows, columns=["group", "id", "split", "faces"])

    def _verdict(self, groups: int, unblurred: int) -> str:
        if not self.copies and not unblurred:
            return f"No near-duplicates among {self.images:,} images."
        of = f"{groups:,} group{'s' if groups != 1 else ''}, of {self.images:,} images"
        text = f"{self.copies:,} near-duplicates in {of}"
        if not unblurred:
            return f"{text}."
        outputs = "1 output is" if unblurred == 1 else f"{unblurred:,} outputs are"
        return f"{text}; {outputs} not blurred although a near-duplicate has a face."

    def to_page(self) -> Page:
        """Tables of the groups that matter; long lists are cut."""
        values = self.to_dict()
        sections = (
            _section("Unblurred outputs", "Each shows a picture whose copy has a face.",
                     ("output", "copy with a face"),
                     [(each["output"], each["near_duplicates"][0])
                      for each in values["unblurred"] or ()], self.has_outputs),
            _section("A face in one copy only", "Review the copies in which none was found.",
                     ("without a face", "with a face"),
                     [(each["without"][0], each["with"][0])
                      for each in values["contradictions"] or ()],
                     self.knows_faces),
            _section("Across splits", "A picture in training and test data inflates results.",
                     ("splits", "images"),
                     [(", ".join(each["splits"]), ", ".join(each["images"][:3]))
                      for each in values["across_splits"]]),
            _section("Groups", "Every group of near-duplicates.", ("images", "count"),
                     [(", ".join(group[:3]), f"{len(group):,}") for group in values["groups"]]),
        )  # fmt: skip
        unverified = ""
        if self.unverified:
            unverified = f"; {self.unverified:,} pairs were near and did not show the same picture"
        return Page(
            title="Near-duplicates",
            lead=tuple(line for line in self._figures() if not line.endswith(": 0")),
            sections=sections,
            verdict=self._verdict(len(values["groups"]), len(values["unblurred"] or ())),
            about=f"curate-dataset {curate.__version__}; hashes of 256 bits, up to "
            f"{self.threshold} of which differ{unverified}",
        )


def _section(
    title: str,
    note: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    checked: bool = True,
) -> Section:
    if not checked:
        return Section(title, ("Not checked.",))
    if not rows:
        return Section(title, ("None.",))
    blocks: list[Block] = [note, Table(title, head, rows[:_SHOWN])]
    if len(rows) > _SHOWN:
        blocks.append(f"… and {len(rows) - _SHOWN:,} more; the JSON lists all.")
    return Section(title, tuple(blocks))
