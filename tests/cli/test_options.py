import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.cli.options import given as only_given
from autoft.cli.options import parse_assignments, parse_budget
from autoft.cli.output import duration, number
from autoft.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("600", 600),
        ("90s", 90),
        ("10m", 600),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1h0m5s", 3605),
        ("1.5h", 5400),
        ("0.5", 0.5),
        (" 10M ", 600),
        (None, None),
    ],
)
def test_a_budget_is_read_in_all_its_forms(text, seconds):
    assert parse_budget(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "   ", "ten minutes", "10x", "30m1h", "-10", "-5m", "1h30", "1e3", "nan", "inf", "10 m"]
)
def test_what_is_no_length_of_time_is_refused_with_the_forms(text):
    with pytest.raises(
        ConfigError, match=r"--time-budget: must be a length of time such as 600, 90s, 10m, 1h or 1h30m, got"
    ):
        parse_budget(text)


@pytest.mark.parametrize("text", ["0", "0s", "0h0m", "0.0"])
def test_a_budget_of_zero_is_refused(text):
    with pytest.raises(ConfigError, match="must be longer than zero"):
        parse_budget(text)


@settings(deadline=None)
@given(st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_a_budget_is_the_sum_of_its_parts(hours, minutes, seconds):
    assert parse_budget(f"{hours}h{minutes}m{seconds}s") == 3600 * hours + 60 * minutes + seconds


def test_assignments_are_read_as_yaml_and_the_last_one_counts():
    texts = [
        "space.lr.high=1e-3",
        "search.seed=1",
        "search.seed=2",
        "data.augment=off",
        "stages=[{name: a, epochs: 1}]",
    ]
    assert parse_assignments(texts) == {
        "space.lr.high": 1e-3,
        "search.seed": 2,
        "data.augment": "off",
        "stages": [{"name": "a", "epochs": 1}],
    }


def test_all_bad_assignments_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        parse_assignments(["seed", "a..b=1", "x=[1", "fine=1"])
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["--set seed", "--set a..b=1", "--set x"]


def test_no_assignments_are_no_changes():
    assert parse_assignments(None) == {}


def test_only_given_options_are_passed_on():
    assert only_given(a=None, b=0, c="", d=False) == {"b": 0, "c": "", "d": False}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0s"), (8.44, "8.4s"), (59.6, "1m00s"), (61, "1m01s"), (185, "3m05s"), (3600, "1h00m"), (3725, "1h02m")],
)
def test_durations_read_like_a_clock(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.912345, "0.9123"), (1e-5, "1e-05"), (3, "3"), ("train", "train")]
)
def test_numbers_have_four_digits(value, text):
    assert number(value) == text
