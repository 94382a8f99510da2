"""The policy: what comes next, who goes on, and that the same records always give the same answers."""

import heapq
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.pruning import PruneConfig
from autoft.recipe import Recipe
from autoft.record import (
    Action,
    Evaluation,
    GroupCard,
    ModelCard,
    Objective,
    Proposal,
    TrialRecord,
    TrialState,
)
from autoft.space import build_space
from autoft.study import MemoryLedger, OptunaLedger, sqlite_url
from autoft.tuner.baselines import baselines
from autoft.tuner.first import for_a_budget
from autoft.tuner.policy import Policy
from autoft.tuner.sampler import build_sampler

SCORE = Objective("accuracy", "max")
CARD = ModelCard(
    "tiny", "cnn", tuple(GroupCard(f"g{i}", 10, 1, 1 / 9) for i in range(9)), "timm", 32, (0.5,) * 3, (0.5,) * 3
)
BASE = Recipe.parse(
    {
        "model": "tiny",
        "stages": [{"name": "head", "epochs": 1}, {"name": "tune", "unfreeze": 2, "epochs": 8, "lr": 1e-4}],
    },
    where="test",
)
SPACE = {
    "depth": {"path": "stages.tune.unfreeze", "type": "int", "low": 0, "high": "all"},
    "lr": {
        "path": "stages.tune.lr",
        "type": "float",
        "low": 1e-5,
        "high": 3e-3,
        "log": True,
        "when": {"depth": ">= 1"},
    },
    "dropout": {"path": "model.drop_rate", "type": "float", "low": 0.0, "high": 0.3},
}
HEAD_THEN_TUNE = {
    "stages": [{"name": "head", "unfreeze": 0, "epochs": 2}, {"name": "tune", "unfreeze": 2, "epochs": 18}]
}


def policy_of(seed=0, *, sampler="tpe", raw=SPACE, **changes):
    made = {
        "objective": SCORE,
        "sampler": build_sampler(
            sampler, space=build_space(raw, BASE.full(), CARD), base=BASE, objective=SCORE, seed=seed
        ),
        "baselines": baselines(BASE, CARD),
        "num_samples": 12,
        "scheduler": "asha",
    }
    return Policy(**(made | changes))


def evaluation(index, value, stage="tune", **changes):
    return Evaluation(index, stage, index, index, value, changes.pop("train_loss", 0.5), 0.5, **changes)


def record(number, *values, stage="tune", recipe=HEAD_THEN_TUNE, origin="tpe", **ended):
    stages = stage if isinstance(stage, list) else [stage] * len(values)
    curve = tuple(evaluation(i, value, stages[i - 1]) for i, value in enumerate(values, start=1))
    return TrialRecord(number, ended.pop("state", TrialState.RUNNING), Proposal(recipe, origin), curve, **ended)


class TestNext:
    def test_baselines_come_first_cheapest_first_then_the_sampler(self):
        policy, ledger = policy_of(num_samples=6), MemoryLedger(SCORE)
        while proposal := policy.next(ledger.trials()):
            ledger.start(proposal)
        origins = [one.proposal.origin for one in ledger.trials()]
        assert origins == ["baseline:head_only", "baseline:standard", "baseline:full", "tpe", "tpe", "tpe"]

    @pytest.mark.parametrize(
        ("slot_s", "order"),
        [
            pytest.param(math.inf, ["head_only", "standard", "full", "cheap", "dear"], id="no budget"),
            pytest.param(400.0, ["head_only", "standard", "full", "cheap", "dear"], id="long"),
            pytest.param(100.0, ["head_only", "standard", "cheap", "full", "dear"], id="short"),
            pytest.param(-1.0, ["head_only", "standard", "cheap", "full", "dear"], id="used up"),
        ],
    )
    def test_a_short_budget_puts_a_dear_baseline_behind_cheaper_recipes(self, slot_s, order):
        seconds = {"head_only": 0.0, "standard": 90.0, "full": 95.0, "cheap": 90.0, "dear": 96.0}
        first = dict(baselines(BASE, CARD))
        others = [(name, BASE.override({"seed": seed})) for seed, name in enumerate(["cheap", "dear"], 1)]
        cost = {recipe.fingerprint(): seconds[name] for name, recipe in (*first.items(), *others)}
        policy = policy_of(portfolio=others, num_samples=5)
        policy, ledger = for_a_budget(policy, lambda one: cost[one.fingerprint()], slot_s=slot_s), MemoryLedger(SCORE)
        while proposal := policy.next(ledger.trials()):
            ledger.start(proposal)
        assert [one.proposal.origin.partition(":")[2] for one in ledger.trials()] == order

    @pytest.mark.parametrize("samples", [1, 2, 3])
    def test_a_small_search_has_the_first_baselines_alone(self, samples):
        policy, ledger = policy_of(num_samples=samples), MemoryLedger(SCORE)
        while proposal := policy.next(ledger.trials()):
            ledger.start(proposal)
        assert [one.baseline for one in ledger.trials()] == ["head_only", "standard", "full"][:samples]

    def test_trials_that_wait_or_failed_count_as_tried(self):
        policy, ledger = policy_of(num_samples=4), MemoryLedger(SCORE)
        ledger.suspend(ledger.start(policy.next(())))
        ledger.finish(ledger.start(policy.next(ledger.trials())), TrialState.FAIL, "crashed", "RuntimeError: x")
        assert policy.next(ledger.trials()).origin == "baseline:full"

    def test_a_larger_budget_goes_on_where_a_smaller_one_ended(self):
        ledger = MemoryLedger(SCORE)
        simulate(policy_of(num_samples=5), ledger)
        first = ledger.trials()
        assert policy_of(num_samples=5).next(first) is None
        simulate(policy_of(num_samples=8), ledger)
        assert told(ledger.trials()[:5]) == told(first)
        whole = MemoryLedger(SCORE)
        simulate(policy_of(num_samples=8), whole)
        assert told(ledger.trials()) == told(whole.trials())

    def test_an_exhausted_space_ends_the_search(self):
        raw = {"norm": {"path": "stages.tune.norm", "type": "categorical", "values": ["train", "eval"]}}
        policy, ledger = policy_of(raw=raw, num_samples=50), MemoryLedger(SCORE)
        while proposal := policy.next(ledger.trials()):
            ledger.start(proposal)
        assert len(ledger.trials()) == 5

    def test_a_baseline_inside_the_space_has_its_coordinates(self):
        raw = SPACE | {"depth": SPACE["depth"] | {"low": 0}}
        base = BASE.override({"stages.tune.unfreeze": 3})
        proposal = policy_of(raw=raw, baselines=[("own", base)]).next(())
        assert proposal.params == {"depth": 3, "lr": 1e-4, "dropout": 0.0}


class TestJudge:
    peers = tuple(record(number, *[value] * 20) for number, value in enumerate((0.5, 0.6, 0.7, 0.8, 0.9), start=10))

    @pytest.mark.parametrize(
        ("trial", "rule"),
        [
            pytest.param(record(0, *[0.1] * 2), "not_promoted", id="behind the median for two evaluations"),
            pytest.param(record(0, *[0.1] * 5), "dominated", id="behind the median for five"),
            pytest.param(record(0, *[0.75] * 2), "not_promoted", id="before the median, but third at a rung"),
            pytest.param(record(0, *[0.85] * 2), "", id="second at a rung"),
            pytest.param(record(0, *[0.1]), "", id="within the grace period"),
            pytest.param(record(0, *[0.65] * 9), "dominated", id="no better for long, and behind"),
            pytest.param(record(0, *[0.95] * 9), "", id="no better for long, but the best"),
            pytest.param(record(0, *[0.1] * 5, stage="head"), "", id="in the head stage"),
            pytest.param(
                record(0, *[0.1] * 3, stage=["head", "head", "tune"]), "not_promoted", id="after the head stage"
            ),
            pytest.param(record(0, 0.5, math.nan, stage="head"), "diverged", id="diverged in the head stage"),
            pytest.param(record(0, *[0.1] * 20), "", id="at its planned end"),
            pytest.param(record(0, *[0.1] * 19, math.nan), "diverged", id="diverged at its end"),
            pytest.param(record(0, *[0.1] * 9, origin="baseline:standard"), "", id="a baseline is a reference"),
            pytest.param(record(0, 0.1, math.nan, origin="baseline:full"), "diverged", id="a baseline that diverged"),
            pytest.param(
                record(0, *[0.1] * 5, recipe={"stages": [{"name": "tune", "unfreeze": 0, "epochs": 9}]}),
                "dominated",
                id="a head stage that nothing follows",
            ),
            pytest.param(
                record(
                    0,
                    *[0.75] * 9,
                    recipe={"stages": [{"name": "tune", "unfreeze": 2, "epochs": 9}, {"name": "all", "epochs": 9}]},
                ),
                "",
                id="no plateau before the last stage",
            ),
        ],
    )
    def test_says_who_stops_and_by_which_rule(self, trial, rule):
        decision = policy_of().judge(trial, (*self.peers, trial))
        assert decision.rule == rule
        assert decision.action == (Action.STOP if rule else Action.CONTINUE)
        assert bool(decision.text) == bool(rule)

    def test_nothing_is_judged_in_a_warm_up(self):
        trial = record(0, 0.1)
        curve = (*trial.curve, evaluation(2, 0.1, warming_up=True))
        trial = TrialRecord(0, TrialState.RUNNING, trial.proposal, curve)
        assert policy_of().judge(trial, self.peers).action == Action.CONTINUE

    def test_a_trial_is_not_its_own_peer(self):
        trial = record(0, *[0.1] * 2)
        stale = record(0, 0.99, 0.99)
        peers = tuple(record(number, *[0.1] * 20) for number in range(1, 4))
        assert policy_of().judge(trial, (stale, *peers)).action == Action.CONTINUE

    def test_one_that_is_done_can_only_have_diverged(self):
        trial = record(0, *[0.1] * 6)
        assert policy_of().judge(trial, self.peers).rule == "dominated"
        assert policy_of().judge(trial, self.peers, done=True).action == Action.CONTINUE
        assert policy_of().judge(record(0, math.nan), self.peers, done=True).rule == "diverged"

    def test_without_scheduler_there_are_no_rungs(self):
        policy = policy_of(scheduler="none")
        assert policy.judge(record(0, *[0.75] * 2), self.peers).action == Action.CONTINUE
        assert policy.judge(record(0, *[0.1] * 5), self.peers).rule == "dominated"

    def test_without_rules_there_are_only_rungs(self):
        policy = policy_of(prune=PruneConfig.parse("off", where="prune"))
        assert policy.judge(record(0, *[0.1] * 2), self.peers).rule == "not_promoted"
        assert policy.judge(record(0, *[0.1] * 3), self.peers).action == Action.CONTINUE

    def test_rungs_are_settings(self):
        policy = policy_of(grace_period=4, reduction_factor=2, prune=PruneConfig.parse("off", where="prune"))
        stops = [length for length in range(1, 20) if policy.judge(record(0, *[0.1] * length), self.peers).rule]
        assert stops == [4, 8, 16]


class TestFailure:
    OOM = "OutOfMemoryError: tried to allocate {} MiB at 0x{}"

    @staticmethod
    def ended(*causes):
        """Trials that ended in this order: a string is a crash, a state a verdict."""
        return tuple(
            record(number, 0.5, state=TrialState.FAIL, reason="crashed", reason_text=cause, ended=number + 1)
            if not isinstance(cause, TrialState)
            else record(number, 0.5, state=cause, reason="rule", ended=number + 1)
            for number, cause in enumerate(causes)
        )

    @pytest.mark.parametrize(
        ("causes", "cause"),
        [
            pytest.param(["a: x"] * 3, "a: x", id="three alike"),
            pytest.param(["a: x"] * 2, None, id="two alike"),
            pytest.param(["a: x", "a: x", "b: y"], None, id="another cause"),
            pytest.param(["a: x", "a: x", TrialState.PRUNED, "a: x"], None, id="a verdict in between"),
            pytest.param(["a: x"] * 3 + [TrialState.COMPLETE], None, id="one that went well since"),
            pytest.param([TrialState.COMPLETE] + ["a: x"] * 3, "a: x", id="after one that went well"),
            pytest.param(["b: y", "a: x", "a: x", "a: x"], "a: x", id="after another cause"),
            pytest.param([TrialState.PRUNED] * 3, None, id="verdicts are no crashes"),
            pytest.param(
                [OOM.format(20, "7f"), OOM.format(300, "8e"), OOM.format(4, "9a")], OOM.format(4, "9a"), id="numbers"
            ),
            pytest.param(
                [f"FileNotFoundError: '/runs/trial_{name}/weights'" for name in "abc"],
                "FileNotFoundError: '/runs/trial_c/weights'",
                id="paths",
            ),
            pytest.param(["E: x\nat line 3", "E: x\nat line four", "E: x"], "E: x", id="tracebacks"),
        ],
    )
    def test_is_the_cause_of_three_crashes_in_a_row(self, causes, cause):
        assert policy_of().failure(self.ended(*causes)) == cause

    def test_goes_by_the_order_in_which_trials_ended(self):
        first, second, third, good = self.ended("a: x", "a: x", "a: x", TrialState.COMPLETE)
        early = TrialRecord(3, good.state, good.proposal, good.curve, ended=0)
        assert policy_of().failure((first, second, third, early)) == "a: x"

    def test_running_trials_do_not_count(self):
        assert policy_of().failure((*self.ended(*["a: x"] * 3), record(9, 0.5))) == "a: x"


def quality(recipe):
    """What a recipe reaches in the end."""
    tune = recipe["stages"][-1]
    if len(recipe["stages"]) == 1 or tune["unfreeze"] == 0:
        return 0.6
    depth = {"all": 9, 0.5: 5}.get(tune["unfreeze"], tune["unfreeze"])
    hill = math.exp(-(((depth - 5) / 2.5) ** 2) - ((math.log10(tune["lr"]) + 3.3) / 0.5) ** 2)
    return 0.55 + 0.4 * hill - 0.1 * recipe["model"]["drop_rate"]


def scripted(recipe, index):
    """The evaluation of that index: a curve that rises to the recipe's quality, or diverges when it is too hot."""
    lengths = [stage["epochs"] for stage in recipe["stages"]]
    stage = recipe["stages"][0 if index <= lengths[0] else -1]
    hot = stage.get("lr", 0) > 2e-3
    value = math.nan if hot else quality(recipe) * (1 - 0.5 * math.exp(-index / 2))
    return Evaluation(index, stage["name"], index, index, value, 1 / index, 1 / index), index >= sum(lengths)


def told(records):
    """Records as text: what is not a number equals nothing, not even itself."""
    return [repr(one) for one in records]


def simulate(policy, ledger, *, slots=1, events=10**6):
    """Run a search on a virtual clock, an hour per evaluation; an interrupted one suspends what runs."""
    clock, busy = 0.0, []
    waiting = [one.number for one in ledger.trials() if not one.state.finished]
    while True:
        while len(busy) < slots and events:
            if waiting:
                ledger.reenter(number := waiting.pop(0))
            elif proposal := policy.next(ledger.trials()):
                number = ledger.start(proposal)
            else:
                break
            heapq.heappush(busy, (clock + 1.0, number))
        if not busy or not events:
            break
        events -= 1
        clock, number = heapq.heappop(busy)
        one, done = scripted(ledger.trial(number).proposal.recipe, len(ledger.trial(number).curve) + 1)
        ledger.report(number, one)
        decision = policy.judge(ledger.trial(number), ledger.trials(), done=done)
        if decision.action != Action.CONTINUE:
            ledger.finish(number, TrialState.PRUNED, decision.rule, decision.text)
        elif done:
            ledger.finish(number, TrialState.COMPLETE)
        else:
            heapq.heappush(busy, (clock + 1.0, number))
    for _, number in busy:
        ledger.suspend(number)
    return ledger


class TestSimulated:
    def test_every_trial_ends_and_every_stop_has_a_reason(self):
        records = simulate(policy_of(num_samples=24), MemoryLedger(SCORE), slots=2).trials()
        assert len(records) == 24
        assert {one.state for one in records} == {TrialState.COMPLETE, TrialState.PRUNED}
        for one in records:
            assert bool(one.reason_text) == bool(one.reason) == (one.state == TrialState.PRUNED)
        assert all(one.state == TrialState.COMPLETE for one in records if one.baseline)

    def test_halving_lets_about_a_third_of_the_rest_come_through(self):
        policy = policy_of(sampler="random", num_samples=63, prune=PruneConfig.parse("off", where="prune"))
        drawn = [one for one in simulate(policy, MemoryLedger(SCORE), slots=4).trials() if not one.baseline]
        sound = [one for one in drawn if one.reason != "diverged"]
        passed = [len(one.curve) > 2 for one in sound]
        assert 0.25 < sum(passed) / len(sound) < 0.5
        assert sum(one.state == TrialState.COMPLETE for one in sound) < sum(passed)

    def test_rules_and_halving_save_much_and_keep_the_best(self):
        searches = {
            name: simulate(policy_of(num_samples=40, sampler="random", **changes), MemoryLedger(SCORE)).trials()
            for name, changes in {
                "all": {},
                "none": {"scheduler": "none", "prune": PruneConfig.parse("off", where="prune")},
            }.items()
        }
        spent = {name: sum(len(one.curve) for one in records) for name, records in searches.items()}
        best = {name: max(one.best(SCORE).value for one in records) for name, records in searches.items()}
        assert best["all"] == best["none"]
        assert spent["all"] < 0.6 * spent["none"]

    @pytest.mark.parametrize("slots", [1, 3])
    def test_the_same_seed_gives_the_same_search(self, slots):
        first, second, other = (
            told(simulate(policy_of(seed), MemoryLedger(SCORE), slots=slots).trials()) for seed in (0, 0, 1)
        )
        assert first == second
        assert first != other

    @settings(max_examples=12)
    @given(st.lists(st.integers(1, 40), min_size=1, max_size=3))
    def test_an_interrupted_search_goes_on_as_an_uninterrupted_one(self, interruptions):
        whole = simulate(policy_of(), MemoryLedger(SCORE)).trials()
        ledger = MemoryLedger(SCORE)
        for events in interruptions:
            simulate(policy_of(), ledger, events=events)
            ledger = MemoryLedger(SCORE, ledger.trials())
        assert told(simulate(policy_of(), ledger).trials()) == told(whole)

    def test_a_search_in_a_database_is_the_one_in_memory(self, tmp_path):
        whole = simulate(policy_of(), MemoryLedger(SCORE)).trials()
        for events in (17, 10**6):
            with OptunaLedger(sqlite_url(tmp_path / "study.db"), "s", SCORE) as ledger:
                simulate(policy_of(), ledger, events=events)
        with OptunaLedger(sqlite_url(tmp_path / "study.db"), "s", SCORE) as ledger:
            assert told(ledger.trials()) == told(whole)

    @given(st.integers(1, 60))
    @settings(max_examples=10)
    def test_interrupted_on_several_slots_it_tries_as_many(self, events):
        ledger = MemoryLedger(SCORE)
        simulate(policy_of(), ledger, slots=3, events=events)
        assert not any(one.state == TrialState.RUNNING for one in ledger.trials())
        records = simulate(policy_of(), ledger, slots=3).trials()
        assert len(records) == 12
        assert all(one.state.finished for one in records)
