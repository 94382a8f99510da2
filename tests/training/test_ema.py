import pytest
import torch

from autoft.training.ema import WeightAverage


def test_the_average_moves_towards_the_live_weights_by_one_minus_the_decay():
    live = torch.zeros(3)
    average = WeightAverage({"w": live}, 0.9)
    live.fill_(1.0)
    average.update(step=1000)
    assert average.values["w"].tolist() == pytest.approx([0.1] * 3)


def test_early_steps_weigh_more_so_that_a_short_stage_is_not_stuck_at_its_start():
    live = torch.zeros(1)
    average = WeightAverage({"w": live}, 0.9999)
    live.fill_(1.0)
    average.update(step=1)
    assert average.values["w"].item() == pytest.approx(1 - 2 / 11)


def test_in_place_shows_the_average_and_gives_the_live_weights_back_bit_for_bit():
    live = torch.randn(50, generator=torch.Generator().manual_seed(0))
    average = WeightAverage({"w": live}, 0.5)
    raw = live.mul_(1.7).clone()
    average.update(step=50)
    mean = average.values["w"].clone()
    with average.in_place():
        assert torch.equal(live, mean)
    assert torch.equal(live, raw)
    assert torch.equal(average.values["w"], mean)


def test_in_place_gives_the_live_weights_back_after_an_error():
    live = torch.ones(2)
    average = WeightAverage({"w": live}, 0.5)
    live.fill_(3.0)
    with pytest.raises(RuntimeError), average.in_place():
        raise RuntimeError
    assert live.tolist() == [3.0, 3.0]
