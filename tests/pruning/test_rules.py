"""What each rule says of curves."""

import math

import pytest

from autoft.pruning import Diverged, Dominated, Nothing, Overfit, Plateau
from autoft.record import CONTINUE, Action, Objective

SCORE, LOSS = Objective("accuracy", "max"), Objective("mae", "min")
RISING = [0.5, 0.52, 0.55, 0.6, 0.66, 0.7]
FALLING = [0.5, 0.4, 0.3, 0.2, 0.1, 0.05]


class TestDiverged:
    @pytest.mark.parametrize(
        ("broken", "says"),
        [
            pytest.param({"train_loss": math.nan}, "training loss is nan at evaluation 2", id="training loss"),
            pytest.param({"val_loss": math.inf}, "validation loss is inf at evaluation 2", id="validation loss"),
            pytest.param({"value": math.nan}, "accuracy is nan at evaluation 2", id="metric"),
            pytest.param({"diverged": "loss 9.1 above 2.3"}, "loss 9.1 above 2.3", id="seen by the trainer"),
            pytest.param({"value": math.nan, "warming_up": True}, "accuracy is nan", id="even in a warm-up"),
        ],
    )
    def test_stops_at_once_and_says_what_broke(self, broken, says, curve):
        decision = Diverged()(curve([0.5, 0.6], last=broken), (), SCORE)
        assert decision.action == Action.STOP
        assert decision.rule == "diverged"
        assert says in decision.text

    def test_lets_finite_curves_go_on(self, curve):
        assert Diverged()(curve([0.5, 0.1]), (), SCORE) == CONTINUE
        assert Diverged()((), (), SCORE) == CONTINUE

    def test_can_be_told_to_leave_numbers_to_the_trainer(self, curve):
        rule = Diverged(non_finite=False)
        assert rule(curve([0.5], last={"train_loss": math.nan}), (), SCORE) == CONTINUE
        assert rule(curve([0.5], last={"diverged": "too hot"}), (), SCORE).action == Action.STOP


class TestOverfit:
    def test_pauses_when_validation_loss_rises_while_training_loss_falls(self, curve):
        decision = Overfit(5)(curve(RISING, val_loss=RISING, train_loss=FALLING), (), LOSS)
        assert decision.action == Action.PAUSE
        assert decision.rule == "overfit"
        assert decision.text == (
            "validation loss rose from 0.5 to 0.7 while training loss fell from 0.5 to 0.05 over 5 evaluations"
        )

    @pytest.mark.parametrize(
        ("val_loss", "train_loss"),
        [
            pytest.param(RISING[:5], FALLING[:5], id="too few evaluations"),
            pytest.param(FALLING, FALLING, id="both fall"),
            pytest.param(RISING, RISING, id="both rise"),
            pytest.param([0.5, 0.52, 0.49, 0.6, 0.66, 0.7], FALLING, id="a better one in between"),
            pytest.param([0.5, 0.9, 0.9, 0.6, 0.55, 0.52], FALLING, id="one bump that heals"),
            pytest.param([0.5] * 6, FALLING, id="flat"),
        ],
    )
    def test_is_silent_otherwise(self, val_loss, train_loss, curve):
        assert Overfit(5)(curve(val_loss, val_loss=val_loss, train_loss=train_loss), (), LOSS) == CONTINUE

    def test_looks_at_one_stage_only(self, curve):
        rows = curve(RISING, val_loss=RISING, train_loss=FALLING, stages=["head"] * 3 + ["tune"] * 3)
        assert Overfit(5)(rows, (), LOSS) == CONTINUE

    def test_does_not_look_at_a_warm_up(self, curve):
        rows = curve(RISING, val_loss=RISING, train_loss=FALLING, warming_up=[True] + [False] * 5)
        assert Overfit(5)(rows, (), LOSS) == CONTINUE


class TestDominated:
    @pytest.mark.parametrize(
        ("values", "stops"),
        [
            pytest.param([0.25], True, id="behind the median"),
            pytest.param([0.3], False, id="at the median"),
            pytest.param([0.35], False, id="before it"),
            pytest.param([0.4, 0.1, 0.1], False, id="its best counts"),
            pytest.param([0.1, 0.1, 0.1, 0.1, 0.1], True, id="peers that ended before count with their best"),
            pytest.param([math.nan], True, id="without a value"),
        ],
    )
    def test_stops_what_is_behind_the_median_of_its_peers(self, values, stops, curve, peers):
        decision = Dominated(5)(curve(values), peers, SCORE)
        assert decision.action == (Action.STOP if stops else Action.CONTINUE)

    def test_turns_with_the_direction(self, curve, peers):
        assert Dominated(5)(curve([0.25]), peers, LOSS) == CONTINUE
        assert Dominated(5)(curve([0.35]), peers, LOSS).action == Action.STOP

    def test_says_the_numbers(self, curve, peers):
        assert Dominated(5)(curve([0.1, 0.25]), peers, SCORE).text == (
            "best accuracy 0.25 at evaluation 2 is behind 0.3, the median of 5 peers"
        )
        assert "best mae 0.35 at evaluation 1 is behind 0.3" in Dominated(5)(curve([0.35]), peers, LOSS).text

    def test_needs_enough_peers_that_were_evaluated(self, curve, peers):
        assert Dominated(6)(curve([0.01]), peers, SCORE) == CONTINUE
        assert Dominated(6)(curve([0.01]), (*peers, ()), SCORE) == CONTINUE
        assert Dominated(6)(curve([0.01]), (*peers, curve([0.5])), SCORE).action == Action.STOP

    def test_does_not_halve_the_survivors_again_at_every_evaluation(self, curve, peers):
        survivors = tuple(curve([value] * 9) for value in (0.8, 0.85, 0.9))
        assert Dominated(5)(curve([0.7] * 8), (*peers, *survivors), SCORE) == CONTINUE

    def test_compares_at_the_same_evaluation_whatever_came_later(self, curve):
        late = tuple(curve([0.1, 0.9]) for _ in range(5))
        assert Dominated(5)(curve([0.2]), late, SCORE) == CONTINUE

    @pytest.mark.parametrize(
        ("values", "more", "stops"),
        [
            pytest.param([0.25] * 3, {}, True, id="behind at each of three"),
            pytest.param([0.25] * 2, {}, False, id="only two so far"),
            pytest.param([0.35, 0.1, 0.1], {}, False, id="its best was before them"),
            pytest.param(
                [0.1] * 4, {"stages": ["head", "head", "tune", "tune"]}, False, id="two of them in this stage"
            ),
            pytest.param([0.1] * 4, {"warming_up": [False, True, False, False]}, True, id="a warm-up is passed over"),
            pytest.param([0.1] * 3, {"warming_up": [False, True, False]}, False, id="and does not count"),
        ],
    )
    def test_with_patience_it_must_have_been_behind_at_each_of_the_last(self, values, more, stops, curve, peers):
        decision = Dominated(5, patience=3)(curve(values, **more), peers, SCORE)
        assert decision.action == (Action.STOP if stops else Action.CONTINUE)
        assert not stops or decision.text.endswith("the median of 5 peers for 3 evaluations")

    def test_a_late_starter_that_has_caught_up_goes_on(self, curve, peers):
        assert Dominated(5, patience=3)(curve([0.01, 0.01, 0.31]), peers, SCORE) == CONTINUE

    def test_does_not_judge_by_a_warm_up(self, curve, peers):
        assert Dominated(5)(curve([0.01, 0.01], last={"warming_up": True}), peers, SCORE) == CONTINUE


class TestPlateau:
    @pytest.mark.parametrize(
        ("values", "pauses"),
        [
            pytest.param([0.5, 0.4, 0.5, 0.3, 0.5, 0.5], True, id="five without a new best"),
            pytest.param([0.5, 0.4, 0.5, 0.3, 0.5], False, id="only four"),
            pytest.param([0.5, 0.4, 0.5, 0.3, 0.5, 0.51], False, id="a new best at last"),
            pytest.param([0.5, 0.51, 0.5, 0.5, 0.5, 0.5], False, id="a new best five ago"),
            pytest.param([0.5, math.nan, 0.4, 0.4, 0.4, 0.4], True, id="what is no number is no best"),
        ],
    )
    def test_pauses_after_five_evaluations_without_a_new_best(self, values, pauses, curve):
        decision = Plateau(5)(curve(values), (), SCORE)
        assert decision.action == (Action.PAUSE if pauses else Action.CONTINUE)
        if pauses:
            assert decision.rule == "plateau"
            assert decision.text == "accuracy has not improved on 0.5 for 5 evaluations"

    def test_starts_anew_with_each_stage(self, curve):
        rows = curve([0.5] * 8, stages=["head"] * 5 + ["tune"] * 3)
        assert Plateau(5)(rows, (), SCORE) == CONTINUE

    def test_counts_no_warm_up(self, curve):
        rows = curve([0.5] * 8, stages=["tune"] * 8, warming_up=[True] * 3 + [False] * 5)
        assert Plateau(5)(rows, (), SCORE) == CONTINUE


def test_nothing_lets_every_trial_go_on(curve):
    assert Nothing()(curve([math.nan]), (), SCORE) == CONTINUE


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        pytest.param(Overfit(5), {"val_loss": RISING, "train_loss": FALLING}, id="overfit"),
        pytest.param(Dominated(5), {}, id="dominated"),
        pytest.param(Plateau(5), {}, id="plateau"),
    ],
)
def test_what_a_cool_down_brings_is_waited_for(rule, told, curve):
    peers = [curve([0.9] * 6) for _ in range(5)]
    assert rule(curve([0.5] * 6, **told), peers, SCORE) != CONTINUE
    assert rule(curve([0.5] * 6, **told, last={"cooled": 0.5}), peers, SCORE) == CONTINUE
    assert rule(curve([0.5] * 6, **told, last={"cooled": 1.0}), peers, SCORE) != CONTINUE
