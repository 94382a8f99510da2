"""Rules made of rules."""

import pytest

from autoft.pruning import Plateau, after, any_of, patient, with_consent
from autoft.record import CONTINUE, Action, Objective, pause, stop

SCORE = Objective("accuracy", "max")


def always(decision):
    return lambda _curve, _peers, _objective: decision


STOP, OTHER_STOP, PAUSE = stop("a", "stops"), stop("b", "stops too"), pause("c", "pauses")


class TestAnyOf:
    @pytest.mark.parametrize(
        ("decisions", "expected"),
        [
            pytest.param([], CONTINUE, id="no rules"),
            pytest.param([CONTINUE, CONTINUE], CONTINUE, id="nobody speaks"),
            pytest.param([CONTINUE, PAUSE], PAUSE, id="one pauses"),
            pytest.param([PAUSE, STOP], STOP, id="stop before pause"),
            pytest.param([STOP, PAUSE], STOP, id="whatever the order"),
            pytest.param([STOP, OTHER_STOP], STOP, id="the first of equals"),
            pytest.param([PAUSE, pause("d", "later")], PAUSE, id="the first of equal pauses"),
        ],
    )
    def test_asks_for_most(self, decisions, expected, curve):
        assert any_of(*map(always, decisions))(curve([0.1]), (), SCORE) == expected


class TestPatient:
    @staticmethod
    def low(curve, _peers, _objective):
        return STOP if curve[-1].value < 0.5 else CONTINUE

    @pytest.mark.parametrize(
        ("values", "speaks"),
        [
            pytest.param([0.9, 0.1, 0.1, 0.1], True, id="three times"),
            pytest.param([0.9, 0.9, 0.1, 0.1], False, id="twice"),
            pytest.param([0.1, 0.1, 0.9, 0.1], False, id="not in a row"),
            pytest.param([0.1, 0.1], False, id="too short"),
            pytest.param([0.1, 0.1, 0.9], False, id="not now"),
        ],
    )
    def test_speaks_when_the_rule_spoke_three_times_in_a_row(self, values, speaks, curve):
        decision = patient(3, self.low)(curve(values), (), SCORE)
        assert decision == (STOP if speaks else CONTINUE)


@pytest.mark.parametrize(("length", "speaks"), [(2, False), (3, True), (4, True)])
def test_after_waits_for_so_many_evaluations(length, speaks, curve):
    assert after(3, always(STOP))(curve([0.1] * length), (), SCORE) == (STOP if speaks else CONTINUE)


class TestWithConsent:
    @pytest.mark.parametrize(
        ("value", "stops"),
        [
            pytest.param(0.05, True, id="last of six"),
            pytest.param(0.35, True, id="third of six"),
            pytest.param(0.45, False, id="second of six: the top third"),
            pytest.param(0.9, False, id="best of six"),
        ],
    )
    def test_stops_what_is_not_in_the_top_third(self, value, stops, curve, peers):
        decision = with_consent(always(PAUSE))(curve([value]), peers, SCORE)
        assert decision.action == (Action.STOP if stops else Action.CONTINUE)
        if stops:
            assert decision.rule == "c"

    def test_says_the_place(self, curve, peers):
        decision = with_consent(always(PAUSE))(curve([0.35, 0.1]), peers, SCORE)
        assert decision.text == "pauses; 3rd best of 6 at evaluation 2"

    def test_is_silent_where_the_rule_is(self, curve, peers):
        assert with_consent(always(CONTINUE))(curve([0.01]), peers, SCORE) == CONTINUE

    def test_few_peers_give_no_consent(self, curve, peers):
        assert with_consent(always(PAUSE))(curve([0.01]), peers[:4], SCORE) == CONTINUE
        assert with_consent(always(PAUSE))(curve([0.01] * 5), peers, SCORE) == CONTINUE
        assert with_consent(always(PAUSE), min_peers=4)(curve([0.01]), peers[:4], SCORE).action == Action.STOP

    def test_does_not_stop_the_leader_on_a_plateau(self, curve, peers):
        long = tuple(curve([value] * 9) for value in (0.1, 0.2, 0.3, 0.4, 0.5))
        rule = with_consent(Plateau(5))
        assert rule(curve([0.8] * 9), long, SCORE) == CONTINUE
        assert rule(curve([0.15] * 9), long, SCORE).rule == "plateau"
