import pytest

from autoft.record import Evaluation


def build(values, *, train_loss=0.5, val_loss=0.5, stages="tune", warming_up=False, last=None):
    """A curve of these values; other columns are a list or one value for all; ``last`` changes the last evaluation."""

    def at(column, place):
        return column[place] if isinstance(column, list) else column

    rows = [
        {
            "index": place + 1,
            "stage": at(stages, place),
            "epoch": place + 1.0,
            "step": place + 1,
            "value": value,
            "train_loss": at(train_loss, place),
            "val_loss": at(val_loss, place),
            "warming_up": at(warming_up, place),
        }
        for place, value in enumerate(values)
    ]
    rows[-1] |= last or {}
    return tuple(Evaluation(**row) for row in rows)


@pytest.fixture(scope="session")
def curve():
    return build


@pytest.fixture(scope="session")
def peers():
    """Five curves of four evaluations each, constant at 0.1 to 0.5."""
    return tuple(build([value] * 4) for value in (0.1, 0.2, 0.3, 0.4, 0.5))
