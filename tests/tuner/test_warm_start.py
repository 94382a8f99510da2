"""Warm start: the best recipes of an earlier study, mapped into another model and space."""

import pytest

from autoft.errors import UnknownNameError
from autoft.model import complete
from autoft.recipe import Recipe
from autoft.record import Evaluation, GroupCard, ModelCard, Objective, Proposal, TrialState
from autoft.space import build_space, shipped
from autoft.study import EarlierStudy, MemoryLedger, OptunaLedger, read_study, sqlite_url
from autoft.tuner.config import resolve_config
from autoft.tuner.run_folder import RunFolder
from autoft.tuner.warm_start import DEPTH, carried_over, earlier_study

ERROR = Objective("error", "min")


class Described:
    groups = ()

    def __init__(self, depth, name="net"):
        cards = tuple(GroupCard(f"g{index}", 10, 1, 1 / (depth + 1)) for index in range(depth + 1))
        self.card = ModelCard(name, "cnn", cards, "timm", 96, (0.5,) * 3, (0.5,) * 3)


def world(depth=8, name="freeze_depth", model="net"):
    described, sections = Described(depth, model), shipped(name)
    recipe = Recipe.parse({"model": model, "stages": sections["stages"]}, where=name)
    base = complete(recipe, described.card)
    return described, base, build_space(sections["space"], base.full(), described.card)


def recipes(base, *changes):
    return [base.override({"stages.tune.unfreeze": 4, **each}).full() for each in changes]


def write(ledger, found):
    """Trials with the errors 0.3, 0.2, 0.1 and so on downwards, in turn."""
    for place, recipe in enumerate(found):
        number = ledger.start(Proposal(recipe, "tpe"))
        ledger.report(number, Evaluation(1, "tune", 1, 1, 0.3 - 0.1 * place, 0.5, 0.5))
        ledger.finish(number, TrialState.COMPLETE)


def earlier(found, *, meta=None, objective=ERROR):
    ledger = MemoryLedger(objective)
    write(ledger, found)
    return EarlierStudy("before", objective, ledger.trials(), meta or {})


def over(study, to, told=None):
    model, base, space = to
    return carried_over(study, base, model, space, notify=(told if told is not None else []).append)


TWO = ({"stages.tune.lr": 2e-4}, {"stages.tune.lr": 4e-4, "model.drop_rate": 0.2, "stages.tune.norm": "eval"})


def test_the_best_come_first_and_are_the_same_recipes():
    to = world()
    found = recipes(to[1], *TWO)
    made = over(earlier(found), to)
    assert [name for name, _ in made] == ["before-1", "before-0"]
    assert [recipe.full() for _, recipe in made] == found[::-1]


def test_repeats_count_once_and_no_more_than_three_are_taken():
    to = world()
    rates = [{"stages.tune.lr": rate} for rate in (1e-4, 1e-4, 2e-4, 3e-4, 5e-4)]
    made = over(earlier(recipes(to[1], *rates)), to)
    assert [name for name, _ in made] == ["before-4", "before-3", "before-2"]


@pytest.mark.parametrize(("there", "here"), [(4, 2), (2, 1), (1, 1)])
def test_depths_of_another_model_are_mapped_by_their_share(there, here):
    _, base, _ = world(8, model="large")
    to = world(4)
    found = recipes(base, {**TWO[0], "stages.tune.unfreeze": there})
    ((_, recipe),) = over(earlier(found, meta={DEPTH: 8}), to)
    assert (recipe.model.name, recipe.stages[-1].unfreeze, recipe.stages[-1].lr) == ("net", here, 2e-4)


def test_of_another_model_of_unknown_depth_nothing_is_taken_and_it_is_told():
    _, base, _ = world(8, model="large")
    told = []
    assert over(earlier(recipes(base, TWO[0])), world(4), told) == ()
    assert told == ["warm start: before is of another model, large, and older than this can map"]


def test_bundles_go_over_together_into_another_space():
    _, base, _ = world(name="layerwise_lr")
    damped = {"stages.head.weight_decay": 1e-2, "stages.head.drop_rate": 0.2, "stages.tune.layer_decay": 0.7}
    to = world()
    ((_, recipe),) = over(earlier(recipes(base, {**damped, "stages.tune.lr": 2e-4})), to)
    assert to[2].project(recipe.full())["head"] == "damped"
    assert recipe.stages[-1].layer_decay == 1.0, "which this space does not search"


def test_a_rate_outside_of_the_space_leaves_the_recipe_out_and_is_told():
    told = []
    to = world()
    found = recipes(to[1], TWO[0], {"stages.tune.lr": 0.5})
    assert [name for name, _ in over(earlier(found), to, told)] == ["before-0"]
    assert told == ["warm start: of 2 recipes of before 1 fit into this search space"]


class TestFinding:
    def config(self, path, named, **more):
        options = {"model.name": "net", "search.warm_start": named, "output.storage_path": str(path)}
        return resolve_config(None, [], {**options, **more})

    def run(self, path, name="before", **more):
        folder = RunFolder(path / name)
        folder.path.mkdir()
        folder.write_config(self.config(path, None, **more))
        with OptunaLedger(more.get("search.storage") or sqlite_url(folder.database), name, ERROR) as ledger:
            write(ledger, recipes(world()[1], *TWO))
            ledger.set_meta(DEPTH, 8)
        return folder

    def test_a_run_is_found_by_its_name_and_by_its_path(self, tmp_path):
        folder = self.run(tmp_path)
        for config in (self.config(tmp_path, "before"), self.config(tmp_path / "other", str(folder.path))):
            found = earlier_study(config)
            assert (found.name, found.meta[DEPTH], found.objective.mode) == ("before", 8, "min")
            assert [record.number for record in found.best(3)] == [1, 0]

    def test_a_study_of_a_shared_storage_needs_no_folder(self, tmp_path):
        storage = sqlite_url(tmp_path / "all.db")
        with OptunaLedger(storage, "before", ERROR) as ledger:
            write(ledger, recipes(world()[1], *TWO))
        found = earlier_study(self.config(tmp_path / "runs", "before", **{"search.storage": storage}))
        assert len(found.records) == 2
        with pytest.raises(
            UnknownNameError, match=r"search.warm_start: .* has no study 'befor' .did you mean 'before'"
        ):
            earlier_study(self.config(tmp_path / "runs", "befor", **{"search.storage": storage}))

    def test_an_unknown_run_is_told_with_those_that_are_there(self, tmp_path):
        self.run(tmp_path)
        with pytest.raises(UnknownNameError, match=r"'befor' is neither a run in .*did you mean 'before'.*: before"):
            earlier_study(self.config(tmp_path, "befor"))
        assert earlier_study(self.config(tmp_path, None)) is None

    def test_reading_changes_nothing(self, tmp_path):
        folder = self.run(tmp_path)
        before = read_study(sqlite_url(folder.database), "before")
        assert read_study(sqlite_url(folder.database), "before") == before
