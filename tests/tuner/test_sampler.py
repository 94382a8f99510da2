"""Proposals: deterministic, inside the space, new, and better than chance."""

import math
import statistics
import time
from types import SimpleNamespace

import pytest

from autoft.errors import ConfigError, UnknownNameError
from autoft.recipe import Recipe
from autoft.record import Evaluation, GroupCard, ModelCard, Objective, Proposal, TrialRecord, TrialState
from autoft.space import build_space
from autoft.tuner.sampler import build_sampler
from autoft.tuner.sampler_kinds import JOINT, KINDS, STEERED

SCORE, LOSS = Objective("accuracy", "max"), Objective("mae", "min")
CARD = ModelCard(
    "tiny", "cnn", tuple(GroupCard(f"g{i}", 10, 1, 1 / 9) for i in range(9)), "timm", 32, (0.5,) * 3, (0.5,) * 3
)
BASE = Recipe.parse(
    {
        "model": "tiny",
        "stages": [
            {"name": "head", "epochs": 3, "head_lr": 1e-3},
            {"name": "tune", "unfreeze": 2, "epochs": 7, "lr": 1e-4, "head_lr": 1e-3},
        ],
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
    "norm": {"path": "stages.tune.norm", "type": "categorical", "values": ["train", "eval"], "when": {"depth": ">= 1"}},
    "dropout": {"path": "model.drop_rate", "type": "float", "low": 0.0, "high": 0.3},
}
SIX = {
    "norm": {"path": "stages.tune.norm", "type": "categorical", "values": ["train", "eval"]},
    "depth": {"path": "stages.tune.unfreeze", "type": "int", "low": 1, "high": 3},
}


def space_of(raw):
    return build_space(raw, BASE.full(), CARD)


def sampler_of(name="tpe", *, raw=SPACE, seed=0, **settings):
    settings.setdefault("objective", SCORE)
    return build_sampler(name, space=space_of(raw), base=BASE, seed=seed, **settings)


def record(number, proposal, *values, state=TrialState.COMPLETE, **ended):
    curve = tuple(
        Evaluation(index, "tune", index, index, value, 0.5, 0.5) for index, value in enumerate(values, start=1)
    )
    return TrialRecord(number, state, proposal, curve, **ended)


def quality(params):
    """A smooth surface with its top at depth 5, rate 5e-4, frozen statistics; feature extraction gives 0.6."""
    value = 0.6 - 0.1 * params["dropout"]
    if params["depth"]:
        hill = math.exp(-(((params["depth"] - 5) / 2.5) ** 2) - ((math.log10(params["lr"]) + 3.3) / 0.5) ** 2)
        value += 0.3 * hill * (1.0 if params["norm"] == "eval" else 0.6) - 0.05 * (1 - hill)
    return value


def search(sampler, trials, *, surface=quality):
    records = []
    for number in range(trials):
        proposal = sampler.propose(records, number)
        records.append(record(number, proposal, surface(proposal.params)))
    return records


@pytest.fixture(scope="module")
def known():
    return search(sampler_of("random"), 16)


@pytest.mark.parametrize("name", KINDS)
class TestAll:
    def test_a_proposal_depends_on_seed_number_and_records_alone(self, name, known):
        proposal = sampler_of(name).propose(known, 16)
        used = sampler_of(name)
        used.propose(known[:12], 12)
        assert used.propose(known, 16) == proposal
        assert (sampler_of(name).propose(known, 17) != proposal) == (name != "grid")
        assert sampler_of(name, seed=1).propose(known, 16) != proposal

    def test_a_proposal_is_a_recipe_inside_the_space(self, name, known):
        proposal = sampler_of(name).propose(known, 16)
        assert Recipe.parse(proposal.recipe, where="test").full() == proposal.recipe
        assert space_of(SPACE).project(proposal.recipe) == proposal.params
        assert set(proposal.distributions) == set(proposal.params)
        assert proposal.origin == name

    def test_every_recipe_of_a_small_space_is_proposed_once(self, name):
        sampler = sampler_of(name, raw=SIX)
        records = search(sampler, 6, surface=lambda params: params["depth"])
        drawn = {(one.proposal.params["norm"], one.proposal.params["depth"]) for one in records}
        assert len(drawn) == 6
        assert sampler.propose(records, 6) is None

    def test_a_baseline_is_not_proposed_again(self, name):
        sampler = sampler_of(name, raw=SIX)
        outside = Proposal(BASE.override({"stages.tune.unfreeze": 2, "stages.tune.norm": "eval"}).full(), "baseline:x")
        records = [record(0, outside, 0.5)]
        while proposal := sampler.propose(records, len(records)):
            records.append(record(len(records), proposal, 0.5))
        assert len(records) == 6
        assert [one.proposal.recipe for one in records].count(outside.recipe) == 1

    def test_it_says_nothing(self, name, known, capfd):
        sampler_of(name).propose(known, 16)
        assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", sorted(JOINT))
class TestJoint:
    """Samplers that know only dimensions which every trial has."""

    def test_learns_from_the_records_where_dimensions_depend_on_others(self, name):
        seeds, trials = (1, 16) if name == "gp" else (3, 32)
        late, chance = (
            statistics.mean(
                one.curve[0].value for seed in range(seeds) for one in search(sampler_of(kind, seed=seed), trials)[-8:]
            )
            for kind in (name, "random")
        )
        assert late > chance + 0.01

    def test_turns_with_the_direction(self, name, known):
        up, down = (
            sampler_of(name, objective=objective).propose(
                [record(one.number, one.proposal, sign * one.curve[0].value) for one in known], 16
            )
            for objective, sign in ((SCORE, 1), (LOSS, -1))
        )
        assert up == down

    def test_a_dimension_that_does_not_count_stands_in_the_middle_of_its_range(self, name, known):
        trials = sampler_of(name)._trials(known)
        assert all(trial.params.keys() == SPACE.keys() for trial in trials)
        filled = [trial.params for trial, one in zip(trials, known, strict=True) if "lr" not in one.proposal.params]
        assert filled
        assert all(point["lr"] == pytest.approx((1e-5 * 3e-3) ** 0.5) for point in filled)

    def test_a_function_of_a_trial_is_modelled_by_what_all_trials_share(self, name):
        def space(trial):
            dropout = {"model.drop_rate": trial.suggest_float("drop", 0.0, 0.5)}
            return dropout | ({"stages.tune.norm": "eval"} if trial.suggest_int("eval", 0, 1) else {})

        sampler = build_sampler(name, space=build_space(space, BASE.full(), CARD), base=BASE, objective=SCORE, seed=0)
        records = search(sampler, 14, surface=lambda params: params["drop"])
        assert all(one.proposal.recipe["model"]["drop_rate"] == one.proposal.params["drop"] for one in records)


class TestGrid:
    def test_takes_five_levels_of_what_is_continuous_and_all_values_of_the_rest(self):
        raw = {name: SPACE[name] for name in ("depth", "dropout")}
        records = search(sampler_of("grid", raw=raw), 45, surface=lambda _: 0.5)
        drawn = {(one.proposal.params["depth"], one.proposal.params["dropout"]) for one in records}
        assert len(drawn) == 45 == 9 * 5
        assert sorted({dropout for _, dropout in drawn}) == pytest.approx([0.0, 0.075, 0.15, 0.225, 0.3])
        assert sampler_of("grid", raw=raw).propose(records, 45) is None

    def test_goes_the_same_way_whatever_comes_out(self, known):
        one, other = (search(sampler_of("grid"), 12, surface=lambda _, v=value: v) for value in (0.1, 0.9))
        assert [each.proposal for each in one] == [each.proposal for each in other]

    def test_a_function_of_a_trial_is_no_grid(self):
        space = build_space(lambda _trial: {}, BASE.full(), CARD)
        with pytest.raises(ConfigError, match=r"search\.sampler: grid needs a space that says its dimensions"):
            build_sampler("grid", space=space, base=BASE, objective=SCORE, seed=0)


class TestTpe:
    def test_learns_from_the_records(self):
        late = {
            name: [one.curve[0].value for seed in range(5) for one in search(sampler_of(name, seed=seed), 28)[-10:]]
            for name in ("tpe", "random")
        }
        assert statistics.mean(late["tpe"]) > statistics.mean(late["random"]) + 0.03

    def test_turns_with_the_direction(self):
        late = [
            one.curve[0].value
            for seed in range(3)
            for one in search(sampler_of(seed=seed, objective=LOSS), 28, surface=lambda params: -quality(params))[-10:]
        ]
        chance = [one.curve[0].value for seed in range(3) for one in search(sampler_of("random", seed=seed), 28)]
        assert -statistics.mean(late) > statistics.mean(chance) + 0.02

    @pytest.mark.parametrize(
        ("values", "settings", "stands"),
        [
            pytest.param([0.5, 0.7, 0.6], {}, ("COMPLETE", 0.7), id="complete: its best"),
            pytest.param(
                [0.5, 0.7, 0.6],
                {"state": TrialState.PRUNED, "reason": "not_promoted"},
                ("COMPLETE", 0.7),
                id="pruned: its best",
            ),
            pytest.param([0.5], {"state": TrialState.WAITING}, ("COMPLETE", 0.5), id="paused: its best so far"),
            pytest.param([0.5], {"state": TrialState.RUNNING}, ("COMPLETE", 0.5), id="running: its best so far"),
            pytest.param([], {"state": TrialState.RUNNING}, ("RUNNING", None), id="just started"),
            pytest.param([], {"state": TrialState.FAIL}, ("RUNNING", None), id="crashed without a value"),
            pytest.param([0.4], {"state": TrialState.FAIL}, ("COMPLETE", 0.4), id="crashed with a value"),
            pytest.param(
                [0.9, math.nan],
                {"state": TrialState.PRUNED, "reason": "diverged"},
                ("COMPLETE", 0.2),
                id="diverged: the worst value seen",
            ),
        ],
    )
    def test_every_trial_stands_with_what_it_reached(self, values, settings, stands, known):
        sampler = sampler_of()
        other = record(0, known[0].proposal, 0.2)
        trials = sampler._trials([other, record(1, known[1].proposal, *values, **settings)])
        assert (trials[1].state.name, trials[1].value) == stands
        assert trials[1].params == known[1].proposal.params

    def test_a_diverged_trial_stands_with_a_constant_predictors_value(self, known):
        broken = record(0, known[0].proposal, math.nan, state=TrialState.PRUNED, reason="diverged")
        (trial,) = sampler_of(constant_value=0.1)._trials([broken])
        assert trial.value == 0.1

    def test_recipes_outside_of_the_space_are_passed_over(self, known):
        outside = record(0, Proposal(BASE.full(), "baseline:full"), 0.9)
        assert sampler_of()._trials([outside, known[1]])[0].params == known[1].proposal.params

    def test_keeps_away_from_what_diverges(self):
        broken = []
        for seed in range(3):
            records, sampler = [], sampler_of(seed=seed)
            for number in range(30):
                proposal = sampler.propose(records, number)
                hot = proposal.params["depth"] > 0 and proposal.params["lr"] > 3e-4
                ended = {"state": TrialState.PRUNED, "reason": "diverged"} if hot else {}
                value = math.nan if hot else quality(proposal.params | {"lr": proposal.params.get("lr", 1) * 10})
                records.append(record(number, proposal, value, **ended))
                broken.append((number >= 15, hot))
        early, late = (sum(hot for half, hot in broken if half == which) for which in (False, True))
        assert late < early / 2


class TestAChangedSpace:
    def test_records_of_a_narrower_space_still_count(self, known):
        wider = SPACE | {"lr": SPACE["lr"] | {"high": 1e-2}}
        trials = sampler_of(raw=wider)._trials(known)
        assert [trial.params for trial in trials] == [one.proposal.params for one in known]
        assert trials[0].distributions["dropout"].high == 0.3
        assert {trial.distributions["lr"].high for trial in trials if "lr" in trial.params} == {1e-2}

    def test_values_outside_of_it_are_left_out(self, known):
        narrower = SPACE | {"depth": SPACE["depth"] | {"high": 3}}
        kept = sampler_of(raw=narrower)._trials(known)
        assert 0 < len(kept) < len(known)
        assert all(trial.params["depth"] <= 3 for trial in kept)
        assert sampler_of(raw=narrower).propose(known, 16).params["depth"] <= 3

    def test_another_set_of_choices_is_no_obstacle(self, known):
        other = SPACE | {"norm": SPACE["norm"] | {"values": ["eval"]}}
        assert sampler_of(raw=other).propose(known, 16).params.get("norm", "eval") == "eval"


class TestLocate:
    def test_a_recipe_inside_the_space_has_coordinates(self):
        recipe = BASE.override({"stages.tune.unfreeze": 4, "stages.tune.norm": "eval", "model.drop_rate": 0.1})
        proposal = sampler_of().locate(recipe, "baseline:standard")
        assert proposal.params == {"depth": 4, "lr": 1e-4, "norm": "eval", "dropout": 0.1}
        assert set(proposal.distributions) == set(proposal.params)
        assert (proposal.origin, proposal.recipe) == ("baseline:standard", recipe.full())

    def test_a_recipe_outside_of_it_has_none(self):
        proposal = sampler_of().locate(BASE.override({"optimisation.opt": "sgd"}), "baseline:standard")
        assert (proposal.params, proposal.distributions) == ({}, {})


def test_a_function_of_a_trial_is_a_space():
    sampler = build_sampler(
        "tpe",
        space=build_space(lambda trial: {"model.drop_rate": trial.suggest_float("drop", 0.0, 0.5)}, BASE.full(), CARD),
        base=BASE,
        objective=SCORE,
        seed=0,
    )
    records = search(sampler, 14, surface=lambda params: params["drop"])
    assert all(one.proposal.recipe["model"]["drop_rate"] == one.proposal.params["drop"] for one in records)
    assert len(sampler._trials(records)) == 14


def test_a_name_that_is_no_sampler_is_told_with_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        sampler_of("tpee")
    assert (
        str(caught.value)
        == "search.sampler: 'tpee' is not one of tpe, gp, cmaes, random, grid, nsga2 (did you mean 'tpe'?)"
    )


def test_a_proposal_after_a_thousand_trials_takes_no_second(known):
    records = [record(number, known[number % 16].proposal, 0.5 + number % 16 / 100) for number in range(1000)]
    sampler = sampler_of()
    sampler.propose(records, 1000)
    start = time.process_time()
    sampler.propose(records, 1001)
    assert time.process_time() - start < 1.0


DEEP_IS_DEAR = SimpleNamespace(
    objectives=(SCORE, Objective("cost", "min")),
    values=lambda record: (record.curve[-1].value, 1.0 + record.proposal.params["depth"]) if record.curve else None,
)


@pytest.mark.parametrize("name", sorted(STEERED))
def test_several_objectives_are_gone_by_together(name):
    """All depths are as good, so with cost beside the score the cheaper ones are looked at."""

    def mean_depth(**more):
        found = search(sampler_of(name, **more), 28, surface=lambda params: 0.7 - 0.1 * params["dropout"])
        return statistics.mean(each.proposal.params["depth"] for each in found[12:])

    assert mean_depth(aims=DEEP_IS_DEAR) < mean_depth() - 0.5


@pytest.mark.parametrize("name", KINDS)
def test_with_several_objectives_too_the_same_records_give_the_same_proposal(name):
    first, second = (sampler_of(name, aims=DEEP_IS_DEAR) for _ in range(2))
    records = search(first, 12)
    records[3] = record(3, records[3].proposal, math.nan, state=TrialState.PRUNED, reason="diverged")
    records[4] = record(4, records[4].proposal, state=TrialState.RUNNING)
    assert first.propose(records, 12) == second.propose(records, 12)
