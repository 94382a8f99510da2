import math

import pytest

from autoft.training.divergence import DivergenceWatch

CHANCE = math.log(10)


def told_after(losses, *, constant=CHANCE, squared=False, warmup=0) -> int | None:
    """The number of steps after which a watch tells a divergence, if it does."""
    watch = DivergenceWatch(constant, squared=squared)
    for step, loss in enumerate(losses):
        if watch.loss(loss, warming_up=step < warmup):
            return step + 1
    return None


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        pytest.param([2.3, math.nan], 2, id="not a number: at once"),
        pytest.param([math.inf], 1, id="infinite: at once"),
        pytest.param([2.3, *[900.0] * 7], 5, id="a rate of 1e3: within an epoch of eight steps"),
        pytest.param([2.3, *[11.0] * 20], None, id="an overshoot"),
    ],
)
def test_a_loss_is_told_as_soon_as_it_is_sure(losses, expected):
    if expected is None:
        pytest.skip("see the real cases")
    assert told_after(losses) == expected
