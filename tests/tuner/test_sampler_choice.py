"""Of several proposals the one that promises most: a function of the records."""

from dataclasses import dataclass

import pytest
import torch
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from tiny import TinyNet, tiny_data

from autoft.recipe import Recipe
from autoft.record import Evaluation, Objective, Proposal, TrialRecord, TrialState
from autoft.tuner.config import resolve_config
from autoft.tuner.prepare import build_policy, lay_ground, search_space
from autoft.tuner.sampler_choice import ChoosingSampler, Places
from autoft.tuner.sampler_kinds import STARTUP_TRIALS

SCORE = Objective("accuracy", "max")
BASE = Recipe.parse({"model": "m", "stages": [{"name": "tune", "unfreeze": "all", "epochs": 1}]}, where="test")
X = distribution_to_json(FloatDistribution(0.0, 1.0))


def proposal(x):
    recipe = BASE.override({"model.drop_rate": x * 0.5}).full()
    return Proposal(recipe, "scripted", {"x": x}, {"x": X})


@dataclass(frozen=True)
class Scripted:
    """Always proposes the same."""

    answer: Proposal | None

    def propose(self, records, number):
        return self.answer

    def locate(self, recipe, origin):
        return Proposal(recipe.full(), origin)


def record(number, x, value):
    curve = (Evaluation(1, "tune", 1, 1, value, 0.5, 0.5),) if value is not None else ()
    return TrialRecord(number, TrialState.COMPLETE, proposal(x), curve)


HILL = [record(number, x / 9, 0.9 - (x / 9 - 0.6) ** 2) for number, x in enumerate(range(10))]


def chosen(*answers, records=HILL):
    sampler = ChoosingSampler(tuple(Scripted(answer) for answer in answers), SCORE)
    return sampler.propose(records, len(records))


def test_what_promises_more_is_taken():
    low, high = proposal(0.05), proposal(0.62)
    assert chosen(low, high) == chosen(high, low) == high


def test_where_nothing_is_known_yet_the_first_one_is_taken():
    few = HILL[: STARTUP_TRIALS - 1]
    assert chosen(proposal(0.05), proposal(0.62), records=few) == proposal(0.05)
    assert chosen(proposal(0.05), proposal(0.62), records=[*few, record(9, 0.5, None)]) == proposal(0.05)


def test_a_space_that_is_used_up_gives_nothing_and_one_that_has_little_left_what_there_is():
    assert chosen(None, proposal(0.62)) is None
    assert chosen(proposal(0.05), None) == proposal(0.05)


def test_the_same_records_give_the_same_choice_and_a_long_search_is_modelled_by_its_best_and_latest():
    many = [record(number, (number % 50) / 50, 0.5 + 0.001 * (number % 7)) for number in range(400)]
    low, high = proposal(0.05), proposal(0.62)
    assert chosen(low, high, records=many) == chosen(low, high, records=many)
    model = ChoosingSampler((Scripted(low),), SCORE)
    known = model._known([*many[:200], record(200, 0.62, 0.99), *many[201:]])
    assert len(known) == 128
    assert max(score for _, score in known) == 0.99


def test_a_recipe_stands_with_its_numbers_in_their_ranges_and_its_choices_one_by_one():
    distributions = {
        "depth": IntDistribution(0, 8),
        "rate": FloatDistribution(1e-4, 1e-2, log=True),
        "norm": CategoricalDistribution(["train", "eval"]),
        "one": IntDistribution(3, 3),
    }
    texts = {name: distribution_to_json(each) for name, each in distributions.items()}
    whole = Proposal({}, "x", {"depth": 2, "rate": 1e-3, "norm": "eval", "one": 3}, texts)
    partly = Proposal({}, "x", {"depth": 8}, {"depth": texts["depth"]})
    places = Places.of([whole, partly])
    assert [name for name, _ in places.dimensions] == ["depth", "norm", "one", "rate"]
    assert places.of_proposal(whole) == pytest.approx([0.25, 0.0, 1.0, 0.5, 0.5])
    assert places.of_proposal(partly) == pytest.approx([1.0, 0.0, 0.0, 0.5, 0.5])


@pytest.fixture(scope="module")
def ground():
    torch.manual_seed(0)
    recipe = resolve_config(None, [("model", "tiny.TinyNet")]).base_recipe()
    return lay_ground(recipe, tiny_data(test=8), module=TinyNet(), notify=lambda _text: None)


def policy(ground, *assignments, given=None):
    config = resolve_config(None, [("model", "tiny.TinyNet"), *assignments])
    return build_policy(config, ground, search_space(config, ground, given), SCORE)


def records_of(searching, count):
    found = []
    for number in range(count):
        drawn = searching.sampler.propose(found, number)
        curve = (Evaluation(1, "tune", 1, 1, 0.5 + 0.01 * number, 0.5, 0.5),)
        found.append(TrialRecord(number, TrialState.COMPLETE, drawn, curve))
    return found


def test_a_search_by_tpe_chooses_once_it_knows_something_and_goes_on_as_it_would_have(ground):
    first, again = policy(ground), policy(ground)
    records = records_of(first, STARTUP_TRIALS + 2)
    assert {record.proposal.origin for record in records} == {"tpe", "random"}
    assert again.sampler.propose(records, len(records)) == first.sampler.propose(records, len(records))
    plain = first.sampler.sampler.sampler.samplers[0]
    drawn = [first.sampler.propose(records, number).recipe for number in range(10, 14)]
    assert drawn != [plain.propose(records, number).recipe for number in range(10, 14)]


def test_a_function_that_draws_is_asked_once_for_a_proposal(ground):
    calls = []

    def space(trial):
        calls.append(trial)
        return {"optimisation.weight_decay": trial.suggest_float("decay", 1e-5, 1e-2, log=True)}

    searching = policy(ground, given=space)
    records = records_of(searching, STARTUP_TRIALS + 1)
    before = len(calls)
    searching.sampler.propose(records, len(records) + 1)
    assert len(calls) - before <= 1 + len(records), "one draw; what was tried is looked up once"
