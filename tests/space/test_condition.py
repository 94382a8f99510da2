import pytest

from autoft.errors import ConfigError
from autoft.space.condition import parse_condition


@pytest.mark.parametrize(
    ("text", "true", "false"),
    [
        (">= 2", [2, 3.5], [1, 1.99, "2", True, None]),
        ("<= 2", [2, -1], [2.01, "1"]),
        ("> 1e-3", [1e-2], [1e-3, 0]),
        ("<0.5", [0.4], [0.5]),
        ("== 2", [2, 2.0], [3, "2", True]),
        ("== sgd", ["sgd"], ["adamw", None]),
        ("!= sgd", ["adamw", 3], ["sgd"]),
        ("== true", [True], [False, 1, "true"]),
        ("!= null", [0.9], [None]),
        ("in [a, b]", ["a", "b"], ["c", "ab"]),
        ("in [1, 2.5]", [1, 2.5], [2]),
        ("in[1]", [1], [2]),
        ("three", ["three"], ["two"]),
        (2, [2], [3, True]),
        (True, [True], [1]),
        ("  >=   2 ", [2], [1]),
    ],
    ids=str,
)
def test_a_comparison_holds_for_some_values_and_not_for_others(text, true, false):
    condition = parse_condition(text)
    assert all(condition.holds(value) for value in true)
    assert not any(condition.holds(value) for value in false)


@pytest.mark.parametrize(
    "text",
    [
        "=> 2",
        ">= ",
        ">= two",
        ">= [1, 2]",
        ">= 1 and <= 2",
        "> true",
        "== [1, 2]",
        "in []",
        "in [[1]]",
        "in 3",
        "in",
        "__import__('os').system('true')",
        "== {a: 1}",
        "",
        None,
        [1],
        "a b",
    ],
    ids=str,
)
def test_anything_else_is_refused_and_nothing_is_run(text):
    with pytest.raises(ConfigError):
        parse_condition(text)
