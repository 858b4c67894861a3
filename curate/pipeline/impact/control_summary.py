"""What happened to the images of the control arms, counted from what is kept of them."""

from __future__ import annotations

from collections import Counter

from curate.impact.controls import RANDOM_REGION, REENCODED, Placement
from curate.pipeline.impact.prediction_store import PredictionStore


def count_routes(store: PredictionStore) -> Counter[str]:
    """How the images of the arm ``reencoded`` travelled; nothing if it was not run."""
    return Counter(row["route"] for row in store.iter_facts(REENCODED, ["route"]))


def count_placement(store: PredictionStore) -> Placement | None:
    """Where the regions of the arm ``random-region`` came to lie; None if there are none."""
    names = ["regions", "overlapping", "hidden_share", "faces_share"]
    images = regions = overlapping = crowded = 0
    share = faces_share = 0.0
    for row in store.iter_facts(RANDOM_REGION, names):
        if row["regions"]:
            images += 1
            regions += row["regions"]
            overlapping += row["overlapping"]
            crowded += row["overlapping"] > 0
            share += row["hidden_share"]
            faces_share += row["faces_share"]
    if not images:
        return None
    return Placement(images, regions, overlapping, crowded, faces_share / images, share / images)
