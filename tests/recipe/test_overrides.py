"""Dotted overrides."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.errors import ConfigError
from autoft.recipe import apply_overrides, look_up, parse_assignment

PLAIN = {
    "seed": 0,
    "data": {"image_size": 224},
    "stages": [{"name": "head", "lr": 1.0}, {"name": "tune", "lr": 2.0, "unfreeze": [1, 2]}],
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 7),
        ("data.image_size", 96),
        ("data.new", 1),
        ("new.part", 1),
        ("stages.tune.lr", 0.5),
        ("stages.1.lr", 0.5),
        ("stages.head", {"name": "head", "epochs": 1}),
        ("stages", [{"name": "only"}]),
    ],
)
def test_an_override_sets_exactly_its_path(path, value):
    before = copy.deepcopy(PLAIN)
    changed = apply_overrides(PLAIN, {path: value}, where="test")
    assert look_up(changed, path, where="test") == value
    assert before == PLAIN


@given(st.permutations(["stages", "stages.a.lr", "stages.a.epochs", "seed"]))
def test_the_order_of_overrides_does_not_matter(order):
    changes = {"stages": [{"name": "a"}], "stages.a.lr": 0.1, "stages.a.epochs": 2, "seed": 3}
    result = apply_overrides(PLAIN, {path: changes[path] for path in order}, where="test")
    assert result["stages"] == [{"name": "a", "lr": 0.1, "epochs": 2}]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("stages.tnue.lr", "there is no 'tnue' (did you mean 'tune'?); there are: head, tune"),
        ("stages.5.lr", "there is no '5'"),
        ("seed.x", "leads through 0"),
        ("seed.x.y", "leads through 0"),
    ],
)
def test_a_path_that_leads_nowhere_is_told(path, told):
    with pytest.raises(ConfigError) as caught:
        apply_overrides(PLAIN, {path: 1}, where="test")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("a.b=1e-3", ("a.b", 1e-3)),
        ("a=on", ("a", "on")),
        ("a=[1, 2]", ("a", [1, 2])),
        ("a={x: 1}", ("a", {"x": 1})),
        ("a=", ("a", None)),
        ("a=b=c", ("a", "b=c")),
    ],
)
def test_assignments_are_read_as_yaml(text, pair):
    assert parse_assignment(text) == pair


@pytest.mark.parametrize("text", ["a", "=1", "a..b=1", ".a=1"])
def test_what_is_no_assignment_is_refused(text):
    with pytest.raises(ConfigError, match="must be a dotted path, an equals sign and a value"):
        parse_assignment(text)
