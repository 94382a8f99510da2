"""Freeze-thaw halving: who pauses, who is thawed, and that nothing but the records decides."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.record import CONTINUE, Action, Evaluation, Objective, Proposal, TrialRecord, TrialState
from autoft.tuner.thaw import FreezeThaw, counted_cost

SCORE, LOSS = Objective("accuracy", "max"), Objective("mae", "min")
FULL = {"stages": [{"name": "tune", "unfreeze": 2, "epochs": 30}]}
HEAD_FIRST = {"stages": [{"name": "head", "unfreeze": 0, "epochs": 2}, {"name": "tune", "unfreeze": 2, "epochs": 28}]}
RUNNING, WAITING, PRUNED = TrialState.RUNNING, TrialState.WAITING, TrialState.PRUNED


def trial(number, values, state=RUNNING, *, recipe=FULL, stages=None, warm=(), cool=(), reason=None):
    stages = stages or ["tune"] * len(values)
    curve = tuple(
        Evaluation(i, stages[i - 1], i, i, value, 0.5, 0.5, warming_up=i in warm, cooled=dict(cool).get(i, 0.0))
        for i, value in enumerate(values, start=1)
    )
    reason = ("" if state == RUNNING else "not_promoted") if reason is None else reason
    return TrialRecord(number, state, Proposal(recipe, "tpe"), curve, reason=reason)


def halving(objective=SCORE, grace=2, factor=3, **more):
    return FreezeThaw(objective=objective, grace_period=grace, reduction_factor=factor, **more)


def at_rung(*values, state=WAITING, length=2):
    return [trial(number, [value] * length, state) for number, value in enumerate(values)]


class TestJudge:
    @pytest.mark.parametrize(
        ("values", "pauses"),
        [
            pytest.param([0.05], False, id="before the first rung"),
            pytest.param([0.45, 0.05], True, id="third of six, two go on"),
            pytest.param([0.55, 0.05], False, id="the best so far counts"),
            pytest.param([0.05] * 3, False, id="between rungs"),
            pytest.param([0.05] * 6, True, id="the second rung, where too few came"),
            pytest.param([math.nan] * 2, True, id="no number at all"),
        ],
    )
    def test_pauses_what_is_not_in_the_top_third_at_a_rung(self, values, pauses):
        others = at_rung(0.1, 0.2, 0.3, 0.5, 0.6)
        decision = halving().judge(trial(9, values), others)
        assert decision.action == (Action.PAUSE if pauses else Action.CONTINUE)

    def test_says_place_rung_and_cost(self):
        decision = halving().judge(trial(9, [0.45, 0.05]), at_rung(0.1, 0.2, 0.3, 0.5, 0.6))
        assert decision.rule == "not_promoted"
        assert decision.text == (
            "best accuracy 0.45 is 3rd of the 6 trials that came to rung 1 (2 units); 2 of them go on"
        )

    def test_the_first_at_a_rung_waits_for_others_unless_no_more_will_come(self):
        alone = halving().judge(trial(0, [0.9] * 2), [])
        assert alone.text == "best accuracy 0.9 is the first that came to rung 1 (2 units); it waits for others"
        assert halving().judge(trial(9, [0.9] * 2), at_rung(0.1)).text.endswith("none of them goes on")
        assert halving().judge(trial(0, [0.9] * 2), [], last=True) == CONTINUE

    def test_baselines_take_nobodys_place(self):
        baselines = [replace(one, proposal=replace(one.proposal, origin="baseline:b")) for one in at_rung(*[0.9] * 6)]
        others = [replace(one, number=10 + one.number) for one in at_rung(0.1, 0.2)]
        decision = halving().judge(trial(20, [0.3] * 2), [*baselines, *others])
        assert decision == CONTINUE, "the first of three, behind six baselines"
        assert halving().thaw([*baselines, *others, trial(20, [0.3] * 2, WAITING)]).number == 20
        assert halving().thaw(baselines) is None

    def test_turns_with_the_direction(self):
        others = at_rung(0.1, 0.2, 0.3, 0.4, 0.5)
        assert halving(LOSS).judge(trial(9, [0.15] * 2), others) == CONTINUE
        assert halving(LOSS).judge(trial(9, [0.45] * 2), others).action == Action.PAUSE

    def test_an_opening_head_stage_costs_nothing_and_a_warm_up_is_not_judged(self):
        stages = ["head", "head", *["tune"] * 4]

        def judged(length, **more):
            one = trial(9, [0.1] * length, recipe=HEAD_FIRST, stages=stages[:length], **more)
            return halving().judge(one, at_rung(0.5, 0.6, 0.7)).action == Action.PAUSE

        assert [judged(length) for length in range(1, 7)] == [False, False, False, True, False, False]
        assert [judged(length, warm={4, 5}) for length in range(1, 7)] == [False] * 5 + [True]

    def test_a_rung_within_a_cool_down_lies_at_its_end_where_ends_compare(self):
        def judged(length, others):
            return halving().judge(trial(9, [0.1] * length, cool={5: 0.3, 6: 0.7, 7: 1.0}), others)

        on_the_way = [trial(number, [0.5] * 6) for number in range(3)]
        cooled = [trial(number, [0.5] * 6, cool={5: 0.5, 6: 1.0}) for number in range(3)]
        assert [judged(length, cooled) == CONTINUE for length in (5, 6, 7)] == [True, True, False]
        assert "4th of the 4" in judged(7, cooled).text
        assert "is the first that came" in judged(7, on_the_way).text
        assert judged(2, on_the_way).rule == judged(2, cooled).rule == "not_promoted"

    def test_rungs_lie_in_cost_not_in_evaluations(self):
        cheap = halving(cost=lambda _recipe, _index: 0.25)
        pauses = [n for n in range(1, 30) if cheap.judge(trial(9, [0.1] * n), at_rung(0.5, length=30)) != CONTINUE]
        assert pauses == [8, 24]

    def test_the_proposal_says_what_an_epoch_of_each_stage_costs(self):
        proposal = Proposal(HEAD_FIRST, "tpe", units={"head": 0.1, "tune": 0.5})
        reached = [("head", 1.0), ("head", 2.0), ("tune", 0.5), ("tune", 1.0), ("tune", 3.0)]
        curve = tuple(Evaluation(n, s, e, n, 0.5, 0.5, 0.5) for n, (s, e) in enumerate(reached, start=1))
        costs = [counted_cost(proposal, curve[:place]) for place in range(1, 6)]
        assert costs == pytest.approx([0.1, 0.1, 0.25, 0.25, 1.0])
        assert counted_cost(Proposal(HEAD_FIRST, "tpe"), curve) == 1.0

    def test_a_dear_evaluation_passes_several_rungs_and_is_judged_at_the_highest(self):
        dear = halving(cost=lambda _recipe, _index: 7.0)
        assert [one.index for one in dear.arrivals(trial(0, [0.5]))] == [1, 1]
        assert "rung 2 (6 units)" in dear.judge(trial(9, [0.1]), at_rung(0.5)).text


class TestThaw:
    def test_nothing_is_due_while_too_few_came(self):
        assert halving().thaw(at_rung(0.5, 0.6)) is None
        assert halving().thaw(at_rung(0.5, 0.6), last=True).number == 1

    def test_a_paused_trial_is_due_when_it_comes_to_be_in_the_top_third(self):
        assert halving().thaw(at_rung(0.5, 0.7, 0.6)).number == 1
        assert halving().thaw(at_rung(0.5, 0.7, 0.6)).text == "1st of the 3 trials that came to rung 1"

    def test_of_several_the_highest_rung_comes_first_then_the_best(self):
        low = at_rung(*[0.1 * n for n in range(1, 10)])
        high = [trial(10 + n, [value] * 6, WAITING) for n, value in enumerate((0.2, 0.4, 0.3))]
        assert halving().thaw([*low, *high]).number == 11
        assert halving().thaw(low).number == 8

    def test_when_no_recipe_is_left_more_go_on(self):
        def thawed(factor, *, last):
            records = at_rung(*[0.1 * n for n in range(12)], length=1)
            while due := halving(grace=1, factor=factor).thaw(records, last=last):
                records[due.number] = trial(due.number, [0.1 * due.number])
            return sum(one.state == RUNNING for one in records)

        assert [thawed(factor, last=False) for factor in (2, 3, 5)] == [6, 4, 2]
        assert [thawed(factor, last=True) for factor in (2, 3, 5)] == [8, 6, 4]

    def test_the_best_of_those_that_cooled_down_is_due_among_its_like(self):
        steady = [trial(number, [0.9] * 2) for number in range(3)]
        cooled = [trial(5 + n, [value] * 2, WAITING, cool={2: 1.0}) for n, value in enumerate((0.1, 0.3, 0.2))]
        assert halving().thaw([*steady, *cooled]).number == 6
        assert halving().thaw([*steady, *cooled[:2]]) is None

    def test_one_that_runs_or_ended_is_not_thawed_but_counts(self):
        ran = [trial(0, [0.9] * 3), trial(1, [0.8] * 2, PRUNED), *at_rung(0.1, 0.2, 0.3, 0.4)[2:]]
        assert halving().thaw([*ran, trial(7, [0.85] * 2, WAITING), trial(8, [0.1] * 2)]).number == 7
        assert halving().thaw([*ran, trial(7, [0.5] * 2, WAITING), trial(8, [0.1] * 2)]) is None

    def test_an_interrupted_trial_is_not_thawed(self):
        assert halving().thaw([*at_rung(0.1, 0.2), trial(5, [0.9] * 2, WAITING, reason="")]) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 3), st.integers(2, 5))
def test_in_the_end_exactly_the_best_of_a_rung_have_gone_on(values, grace, factor):
    """Whatever the order in which they came: the pauses and thaws of one rung make its top."""
    rule, records = halving(grace=grace, factor=factor), []
    for number, value in enumerate(values):
        one = trial(number, [value] * grace)
        paused = rule.judge(one, records).action == Action.PAUSE
        records.append(trial(number, [value] * grace, WAITING if paused else RUNNING))
        while due := rule.thaw(records):
            records[due.number] = trial(due.number, [values[due.number]] * grace)
    went_on = {one.number for one in records if one.state == RUNNING}
    best = sorted(range(len(values)), key=lambda number: (-values[number], number))[: len(values) // factor]
    assert set(best) <= went_on
    assert sum(one.state == WAITING for one in records) >= len(values) - len(went_on)


@given(st.permutations(range(8)), st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_the_order_of_the_records_and_what_was_asked_before_change_nothing(order, values):
    records = [trial(n, [value] * (2 if n % 2 else 6), WAITING) for n, value in enumerate(values)]
    asked = halving()
    for one in records:
        asked.judge(one, records)
    assert asked.thaw([records[n] for n in order]) == halving().thaw(records)
