"""Which images were removed and made, for whoever edits annotations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from curate.balance.correct.ledger import Ledger
from curate.core.affine import Affine
from curate.core.errors import ManifestError
from curate.core.records import printable
from curate.layouts.editing import GeneratedImage


@dataclass(frozen=True, slots=True)
class Extent:
    """The upright image that another was made from.

    Args:
        width: pixels.
        height: pixels.
        orientation: the EXIF orientation that the made one has lost; 1 of a copy.
    """

    width: int
    height: int
    orientation: int = 1


def format_map(origin: Extent, affine: Affine) -> str:
    """Where a made image's pixels came from, as JSON."""
    return json.dumps({"of": asdict(origin), "to": asdict(affine)}, sort_keys=True)


def parse_map(name: str, text: str) -> GeneratedImage:
    """The image that `format_map` wrote of.

    Raises:
        ManifestError: if it is not what `format_map` writes.
    """
    try:
        value = json.loads(text)
        first, second = (tuple(map(float, row)) for row in value["to"]["matrix"])
        affine = Affine(
            (first, second),  # type: ignore[arg-type]
            int(value["to"]["width"]),
            int(value["to"]["height"]),
        )
        return GeneratedImage(
            name, affine, **{key: int(number) for key, number in value["of"].items()}
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{name!a} has a map that cannot be read: {error}") from None


class LedgerEdits:
    """What a ledger says of every image.

    Args:
        ledger: with everything that was made noted in it.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def is_kept(self, record_id: str) -> bool:
        """Whether an image stays; one that the ledger does not know is none of ours."""
        decision = self._ledger.find(printable(record_id))
        return decision is None or decision.is_kept

    def generated_from(self, record_id: str) -> Sequence[GeneratedImage]:
        """The images made from one, in order."""
        return [
            parse_map(name, affine)
            for name, affine in self._ledger.made_from(printable(record_id))
            if affine is not None
        ]
