"""Recipes: named ones, and one's own from a file."""

import json

import pytest

from covid19net.errors import InputError
from covid19net.train.recipes import RECIPES, Stage, find_recipe, recipe_text
from covid19net.train.schedule import Schedule


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_its_text(name, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(recipe_text(find_recipe(name)))
    assert find_recipe(str(path)) == RECIPES[name]


def test_full_and_cpu_end_at_full_size():
    assert RECIPES["full"][-1].shrink == RECIPES["cpu"][-1].shrink == (1, 1, 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "at least one"),
        ("{", "not a recipe"),
        (json.dumps([{"name": "a", "shrink": [1, 1, 1]}]), "schedule"),
        (json.dumps([{"name": "a", "shrink": [1, 1, 1], "schedule": {"steps": 1, "speed": 3}}]), "speed"),
        (json.dumps([{"name": "a", "shrink": [5, 1, 1], "schedule": {"steps": 1}}]), "divide"),
        (json.dumps([{"name": "a", "shrink": [2.0, 1, 1], "schedule": {"steps": 1}}]), "divide"),
        (json.dumps([{"name": "a/b", "shrink": [1, 1, 1], "schedule": {"steps": 1}}]), "letters"),
        (json.dumps([{"name": "a", "shrink": [1, 1, 1], "schedule": {"steps": 1.5}}]), "whole numbers"),
        (json.dumps([{"name": "a", "shrink": [1, 1, 1], "schedule": {"steps": 1, "batch": 3}}]), "even"),
        (json.dumps([{"name": "a", "shrink": [1, 1, 1], "schedule": {"steps": 1, "precision": "f8"}}]), "f8"),
        (json.dumps(2 * [{"name": "a", "shrink": [1, 1, 1], "schedule": {"steps": 1}}]), "name of its own"),
    ],
)
def test_what_is_no_recipe_is_refused_in_one_line(text, reason, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(InputError, match=reason) as fault:
        find_recipe(str(path))
    assert "\n" not in str(fault.value)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match="full, cpu, coarse, fine, quick"):
        find_recipe("fast")


def test_a_shrink_that_does_not_divide_the_image_is_refused():
    with pytest.raises(InputError, match="divide"):
        Stage("a", (1, 7, 1), Schedule(1))
