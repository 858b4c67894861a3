from __future__ import annotations

from typing import Any

import pytest

from curate import Recipe
from curate.core.errors import UsageError


def test_a_recipe_equals_itself_after_a_round_trip_through_a_dictionary() -> None:
    recipe = Recipe(
        method="fill", method_options=(("color", "#808080"),), keep_metadata=("gps",), margin=0.2
    )
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_equal_recipes_have_one_digest() -> None:
    assert Recipe(margin=1).digest == Recipe(margin=1.0).digest
    ways = [("a", 1), ("b", 2)], [("b", 2), ("a", 1)]
    assert len({Recipe(method_options=tuple(way)).digest for way in ways}) == 1
    assert Recipe(keep_metadata=("b", "a", "a")) == Recipe(keep_metadata=("a", "b"))


def test_every_field_changes_the_digest() -> None:
    others: dict[str, Any] = {
        "detector": "mtcnn", "detector_family": "scrfd", "weights_sha256": "a",
        "profile": "fast", "confidence": 0.5,
        "max_side": 64, "device": "cuda", "method": "fill", "method_options": (("a", 1),),
        "margin": 0.5, "faces_sha256": "a", "faces_match": "suffix", "keep_metadata": ("gps",),
        "max_pixels": 5, "shard_size": 5, "seed": 5, "include": ("*",), "drop_keys": (),
    }  # fmt: skip
    assert set(others) | {"version"} == set(Recipe().to_dict())
    digests = {Recipe(**{name: value}).digest for name, value in others.items()}
    assert len(digests | {Recipe().digest}) == len(others) + 1


@pytest.mark.parametrize(
    "values",
    [
        {"margin": float("nan")},
        {"margin": "a"},
        {"max_pixels": float("inf")},
        {"max_pixels": 0},
        {"version": 1},
        {"version": 2},
        {"version": 4},
        {"seed": "x"},
        {"seed": True},
        {"shard_size": 10**30},
        {"confidence": 1},
        {"max_side": 31},
        {"method_options": "abc"},
        {"method_options": {"a": []}},
        {"keep_metadata": "gps"},
        {"faces_match": "close"},
        {"profile": "slow"},
        {"speed": 1},
    ],
)
def test_an_invalid_value_is_refused_by_name(values: dict[str, Any]) -> None:
    name = next(iter(values))
    with pytest.raises(UsageError, match=name.replace("_", "[_-]")):
        Recipe.from_dict(values)
