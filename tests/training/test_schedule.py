import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.recipe import Stage
from autoft.training.schedule import cooled, rate_factor


def stage(**settings) -> Stage:
    return Stage(name="tune", steps=settings.pop("steps", 10), **settings)


@pytest.mark.parametrize(
    ("settings", "step", "expected"),
    [
        pytest.param({}, 7, 1.0, id="constant stays"),
        pytest.param({"warmup_steps": 4}, 0, 0.2, id="warm-up starts above zero"),
        pytest.param({"warmup_steps": 4}, 3, 0.8, id="warm-up ends below the full rate"),
        pytest.param({"warmup_steps": 4}, 4, 1.0, id="the step after warm-up has the full rate"),
        pytest.param({"schedule": "linear"}, 5, 0.5, id="linear is half way down half way"),
        pytest.param({"schedule": "linear"}, 0, 1.0, id="linear starts full"),
        pytest.param({"schedule": "cosine"}, 5, 0.5, id="cosine is half way down half way"),
        pytest.param({"schedule": "cosine", "warmup_steps": 2}, 6, 0.5, id="the fall starts after the warm-up"),
        pytest.param({"schedule": "linear", "schedule_steps": 20}, 5, 0.75, id="schedule_steps stretches the fall"),
        pytest.param({"schedule": "linear", "schedule_steps": 4}, 9, 0.0, id="after its end the rate is zero"),
        pytest.param({"schedule": "wsd"}, 7, 1.0, id="wsd has the full rate for three quarters"),
        pytest.param({"schedule": "wsd"}, 9, 0.4, id="wsd falls over the last quarter"),
        pytest.param(
            {"schedule": "wsd", "schedule_steps": 20}, 9, 1.0, id="the last quarter is that of schedule_steps"
        ),
        pytest.param({"schedule": "cosine", "warmup_steps": 10}, 9, 10 / 11, id="a stage that is all warm-up"),
    ],
)
def test_the_rate_follows_the_schedule(settings, step, expected):
    assert rate_factor(stage(**settings), step, 10) == pytest.approx(expected)


@given(
    kind=st.sampled_from(["constant", "linear", "cosine", "wsd"]),
    length=st.integers(1, 50),
    warmup=st.integers(0, 60),
    step=st.integers(0, 49),
)
def test_the_factor_lies_between_zero_and_one_and_never_rises_after_the_warm_up(kind, length, warmup, step):
    tuned = stage(schedule=kind, warmup_steps=warmup, steps=length)
    now, later = rate_factor(tuned, step, length), rate_factor(tuned, step + 1, length)
    assert 0.0 <= now <= 1.0
    assert step < warmup or later <= now


@given(length=st.integers(2, 40), cut=st.integers(1, 39), kind=st.sampled_from(["linear", "cosine", "wsd"]))
def test_a_cut_stage_with_the_old_length_as_schedule_steps_has_the_same_rates(length, cut, kind):
    cut = min(cut, length)
    whole, part = stage(steps=length, schedule=kind), stage(steps=cut, schedule=kind, schedule_steps=length)
    assert [rate_factor(whole, s, length) for s in range(cut)] == [rate_factor(part, s, cut) for s in range(cut)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({"schedule": "constant"}, [0, 0, 0, 0], id="without a cool-down"),
        pytest.param({"schedule": "cosine"}, [0, 0, 0, 0], id="nor is a fall through the whole stage one"),
        pytest.param({"schedule": "wsd"}, [0, 0, 0.6, 1], id="the last quarter"),
        pytest.param({"schedule": "wsd", "schedule_steps": 20}, [0, 0, 0, 0], id="a stage that is cut before it"),
        pytest.param({"schedule": "wsd", "warmup_steps": 12}, [0, 0, 0, 0], id="a stage that is all warm-up"),
    ],
)
def test_tells_how_much_of_the_cool_down_lies_behind(settings, expected):
    found = [cooled(stage(**settings), step, 10) for step in (1, 7, 9, 10)]
    assert found == pytest.approx(expected)
