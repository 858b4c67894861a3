"""From what a file carries beside its pixels to what the output may carry."""

from __future__ import annotations

import re
import struct
from dataclasses import replace

from curate.codec.metadata.exif import ORIENTATION, Entry, orientation_of, parse_exif, rebuild_exif
from curate.codec.metadata.icc import rebuild_profile
from curate.codec.picture import CodecOptions, Metadata

_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])\b")


def select_metadata(
    exif: bytes | None, icc: bytes | None, options: CodecOptions, xmp: bytes | None = None
) -> Metadata:
    """The allow-list applied: orientation, colour profile, and what the user named.

    Args:
        exif: the source's EXIF block without its ``Exif`` prefix, or None.
        icc: the source's colour profile, or None.
        options: names of further tags to keep.
        xmp: the source's XMP packet, which some writers put the orientation in.
    """
    parsed = parse_exif(exif or b"")
    if ORIENTATION not in parsed.main and (stated := _XMP_ORIENTATION.search(xmp or b"")):
        value = Entry(3, 1, struct.pack(parsed.order + "H", int(stated[1])))
        parsed = replace(parsed, main={**parsed.main, ORIENTATION: value})
    return Metadata(
        orientation=orientation_of(parsed),
        exif=rebuild_exif(parsed, options.keep_metadata),
        icc=rebuild_profile(icc) if icc else None,
    )


def exif_leaks(block: bytes, options: CodecOptions) -> list[str]:
    """What an output's EXIF block holds beyond the allow-list, one line each."""
    if rebuild_exif(parse_exif(block), options.keep_metadata) == block:
        return []
    return ["EXIF holds more than the orientation and the tags that were asked for"]


def icc_leaks(profile: bytes) -> list[str]:
    """What an output's colour profile holds beyond colour data, one line each."""
    if rebuild_profile(profile) == profile:
        return []
    return ["the colour profile holds more than colour data"]
