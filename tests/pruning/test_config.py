"""The ``prune`` section and what it builds."""

import math

import pytest

from autoft.errors import ConfigError
from autoft.pruning import PruneConfig, build_rules
from autoft.record import CONTINUE, Action, Objective

SCORE = Objective("accuracy", "max")
OFF = {"diverged": False, "overfit": False, "dominated": False, "plateau": False}


@pytest.fixture
def shapes(curve):
    """A curve that only one rule stops, by the rule's name; all but one come before the median of `eight_peers`."""
    rising = [0.50, 0.52, 0.55, 0.6, 0.66, 0.7]
    falling = [0.5, 0.4, 0.3, 0.2, 0.1, 0.05]
    improving = [0.20, 0.21, 0.22, 0.23, 0.24, 0.25]
    return {
        "diverged": curve([0.9, math.nan]),
        "dominated": curve([0.01, 0.02, 0.03, 0.04, 0.05]),
        "plateau": curve([0.25] * 6),
        "overfit": curve(improving, val_loss=rising, train_loss=falling),
    }


@pytest.fixture
def eight_peers(curve):
    """Five that came to the end and three that were stopped early: the median of all is 0.15, of the five 0.3."""
    survivors = tuple(curve([value] * 6) for value in (0.1, 0.2, 0.3, 0.4, 0.5))
    return (*survivors, *(curve([0.01]) for _ in range(3)))


@pytest.mark.parametrize("name", ["diverged", "dominated", "plateau", "overfit"])
class TestSwitches:
    def test_each_rule_stops_its_own_shape(self, name, shapes, eight_peers):
        decision = build_rules(PruneConfig.parse(OFF | {name: True}, where="prune"))(shapes[name], eight_peers, SCORE)
        assert (decision.action, decision.rule) == (Action.STOP, name)

    def test_all_rules_together_agree(self, name, shapes, eight_peers):
        assert build_rules(PruneConfig())(shapes[name], eight_peers, SCORE).rule == name

    def test_a_rule_that_is_off_is_silent(self, name, shapes, eight_peers):
        config = PruneConfig.parse({name: "off"}, where="prune")
        assert build_rules(config)(shapes[name], eight_peers, SCORE) == CONTINUE


def test_off_switches_all_of_them_off(shapes, eight_peers):
    rule = build_rules(PruneConfig.parse("off", where="prune"))
    assert all(rule(shape, eight_peers, SCORE) == CONTINUE for shape in shapes.values())
    assert PruneConfig.parse("on", where="prune") == PruneConfig()


@pytest.mark.parametrize(
    ("name", "speaks"), [("diverged", True), ("dominated", True), ("plateau", False), ("overfit", False)]
)
def test_before_the_last_stage_no_rule_judges_by_one_curve(name, speaks, shapes, eight_peers):
    decision = build_rules(PruneConfig(), last_stage=False)(shapes[name], eight_peers, SCORE)
    assert (decision.action == Action.STOP) == speaks


def test_the_grace_period_keeps_peers_silent(shapes, eight_peers):
    dominated = shapes["dominated"]
    assert build_rules(PruneConfig(), grace_period=5)(dominated, eight_peers, SCORE).rule == "dominated"
    assert build_rules(PruneConfig(), grace_period=6)(dominated, eight_peers, SCORE) == CONTINUE


def test_patience_and_peers_are_settings(curve, eight_peers):
    rule = build_rules(PruneConfig(patience=2, min_peers=3))
    assert rule(curve([0.25] * 3), eight_peers[1:5], SCORE).rule == "dominated"
    assert rule(curve([0.25] * 3), eight_peers[1:3], SCORE) == CONTINUE
    assert build_rules(PruneConfig(patience=3))(curve([0.25] * 3), eight_peers, SCORE) == CONTINUE


def test_the_share_that_plateaus_may_keep_is_a_setting(shapes, eight_peers):
    plateau = shapes["plateau"]
    assert build_rules(PruneConfig(top_fraction=0.5))(plateau, eight_peers, SCORE).rule == "plateau"
    assert build_rules(PruneConfig(top_fraction=0.7))(plateau, eight_peers, SCORE) == CONTINUE


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        pytest.param({"dominatd": False}, "prune: dominatd: unknown key (did you mean 'dominated'?)", id="misspelt"),
        pytest.param({"patience": 0}, "prune: patience: must be greater than 0, got 0", id="no patience"),
        pytest.param({"top_fraction": 1.5}, "prune: top_fraction: must be less than 1, got 1.5", id="fraction"),
    ],
)
def test_bad_settings_are_told_with_their_path(raw, line):
    with pytest.raises(ConfigError) as caught:
        PruneConfig.parse(raw, where="prune")
    assert str(caught.value) == line
