"""The classes of ILSVRC 2012, which many models were trained on."""

from __future__ import annotations

from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("imagenet_ids.txt")
"""WordNet ids of the 1,000 classes, a line each, in the order of a model's scores.

The order is that of the ids, as in
https://github.com/tensorflow/models/blob/master/research/slim/datasets/imagenet_lsvrc_2015_synsets.txt.
"""


@cache
def imagenet_ids() -> tuple[str, ...]:
    """WordNet ids of ImageNet's classes, in the order of the scores."""
    return tuple(FILE.read_text(encoding="ascii").split())
