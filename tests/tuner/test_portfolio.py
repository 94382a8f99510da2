"""The portfolio in a search: which recipes, in which order, and that a resumed study keeps it."""

from dataclasses import replace

import pytest

from autoft.model import complete
from autoft.recipe import Recipe
from autoft.record import GroupCard, ModelCard, Objective
from autoft.space import build_space, shipped
from autoft.study import MemoryLedger
from autoft.tuner.baselines import baselines
from autoft.tuner.exploring import ExploringSampler
from autoft.tuner.policy import Policy
from autoft.tuner.portfolio import PORTFOLIO, in_order, kept_portfolio, portfolio_of, without_repeats
from autoft.tuner.sampler import build_sampler

SCORE = Objective("accuracy", "max")


class Described:
    """A model of which one knows the groups alone."""

    groups = ()

    def __init__(self, depth=8, family="cnn"):
        cards = tuple(GroupCard(f"g{index}", 10, 1, 1 / (depth + 1)) for index in range(depth + 1))
        self.card = ModelCard("net", family, cards, "timm", 96, (0.5,) * 3, (0.5,) * 3)


def world(depth=8, name="freeze_depth"):
    model, sections = Described(depth), shipped(name)
    base = complete(Recipe.parse({"model": "net", "stages": sections["stages"]}, where=name), model.card)
    return model, base, build_space(sections["space"], base.full(), model.card)


def made(depth=8):
    model, base, space = world(depth)
    known = [recipe for _, recipe in baselines(base, model.card)]
    return without_repeats(portfolio_of(base, model, space), model, known=known)


def test_what_a_baseline_does_already_is_left_out():
    assert "half_gentle_frozen_norm" not in dict(made(8)), "the standard baseline, written otherwise"
    assert len(made(8)) == 7


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_small_model_has_each_recipe_once(depth):
    recipes = [recipe.full() for _, recipe in made(depth)]
    assert all(recipe not in recipes[:index] for index, recipe in enumerate(recipes))
    assert len(recipes) < 8
    assert bool(recipes) == bool(depth)


def test_the_cheapest_come_first_and_ties_keep_their_order():
    recipes = made()
    assert in_order(recipes, lambda _recipe: 0.0) == recipes
    by_depth = in_order(recipes, lambda recipe: float(recipe.stages[-1].unfreeze))
    assert [name for name, _ in by_depth][:3] == ["last_group", "last_two", "half_bold"]
    assert by_depth[-1][0] == "full_regularised"


def test_what_is_unlikely_to_win_waits_for_half_of_the_others_and_for_one_of_twice_its_cost():
    recipes, costs = made(), {"last_group": 1.0, "last_two": 2.0, "all_but_stem": 8.0, "full_regularised": 9.0}

    def order(*unlikely):
        late = [recipe for name, recipe in recipes if name in unlikely]
        by_recipe = [(recipe, costs.get(name, 3.0)) for name, recipe in recipes]
        cost = lambda given: next(own for recipe, own in by_recipe if recipe is given)  # noqa: E731
        return [name for name, _ in in_order(recipes, cost, lambda recipe: recipe in late)]

    half = ["half_bold", "half_bold_frozen_norm", "half_gentle"]
    assert order()[:5] == ["last_group", "last_two", *half]
    assert order("last_group", "last_two") == [*half, "last_group", "last_two", "all_but_stem", "full_regularised"]
    assert order("half_bold") == [
        *("last_group", "last_two", *half[1:]),
        *("half_bold", "all_but_stem", "full_regularised"),
    ]
    assert sorted(order(*(name for name, _ in recipes))) == sorted(name for name, _ in recipes)


def policy_of(portfolio, **changes):
    _, base, space = world()
    build = {"space": space, "base": base, "objective": SCORE, "seed": 0}
    sampler = ExploringSampler(build_sampler("tpe", **build), build_sampler("random", **build))
    options = {"baselines": baselines(base, Described().card), "num_samples": 30, "portfolio": portfolio}
    return Policy(objective=SCORE, sampler=sampler, **(options | changes))


def drawn(policy, count):
    ledger = MemoryLedger(SCORE)
    for _ in range(count):
        ledger.start(policy.next(ledger.trials()))
    return ledger.trials()


def test_it_comes_after_the_baselines_and_a_fifth_of_what_follows_is_random():
    origins = [record.proposal.origin for record in drawn(policy_of(made()), 30)]
    assert origins[:3] == ["baseline:head_only", "baseline:standard", "baseline:full"]
    assert origins[3:10] == [f"portfolio:{name}" for name, _ in made()]
    assert [origins[number] for number in (14, 19, 24, 29)] == ["random"] * 4
    assert origins[10:].count("random") == 4
    assert origins[10:].count("tpe") == 16


def test_the_sampler_learns_from_the_portfolio():
    records = drawn(policy_of(made()), 10)
    assert all(record.proposal.params["depth"] for record in records[3:])


def test_with_few_samples_baselines_come_first_then_the_cheapest_entries():
    origins = [record.proposal.origin for record in drawn(policy_of(made(), num_samples=5), 5)]
    assert origins[3:] == ["portfolio:last_group", "portfolio:last_two"]


class TestKept:
    def test_a_study_keeps_its_order_although_costs_are_predicted_anew(self):
        _, _, space = world()
        ledger = MemoryLedger(SCORE)
        first = kept_portfolio(ledger, space, made)
        again = kept_portfolio(ledger, space, lambda: tuple(reversed(made())))
        assert again == first == made()

    def test_a_study_that_began_without_goes_on_without(self):
        policy, (_, _, space) = policy_of(()), world()
        ledger = MemoryLedger(SCORE)
        ledger.start(replace(policy.next(()), origin="tpe"))
        assert kept_portfolio(ledger, space, made) == ()
        assert ledger.meta()[PORTFOLIO] == []

    def test_baselines_come_before_it(self):
        policy, (_, _, space) = policy_of(()), world()
        ledger = MemoryLedger(SCORE)
        ledger.start(policy.next(()))
        assert kept_portfolio(ledger, space, made) == made()

    def test_what_a_changed_space_does_not_have_is_left_out(self):
        model, base, space = world()
        ledger = MemoryLedger(SCORE)
        kept_portfolio(ledger, space, made)
        raw = dict(shipped("freeze_depth")["space"])
        raw["depth"] = {**raw["depth"], "high": 2}
        narrow = build_space(raw, base.full(), model.card)
        assert [name for name, _ in kept_portfolio(ledger, narrow, made)] == ["last_group", "last_two"]


def test_a_recipe_is_the_same_however_it_is_written():
    model, base, _ = world()
    written = base.override({"stages.tune.unfreeze": "all"})
    counted = base.override({"stages.tune.unfreeze": 8, "stages.head.norm": "eval"})
    other = base.override({"stages.tune.unfreeze": 7})
    found = without_repeats([("a", written), ("b", counted), ("c", other)], model)
    assert [name for name, _ in found] == ["a", "c"]
