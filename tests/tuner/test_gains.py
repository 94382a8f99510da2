import pytest
import torch
from reuse_runs import data_of, recipe_of

from autoft.model import load_model
from autoft.record import Objective, Proposal, TrialRecord, TrialState
from autoft.training import StagedTrainer, StageTree
from autoft.training.checkpoint import write_checkpoint
from autoft.training.gains import AVERAGE, AVERAGED, SHARES
from autoft.tuner.closing import Allowance, Closing
from autoft.tuner.conclude import _with_weights
from autoft.tuner.delivery import Contest, Delivery
from autoft.tuner.gains import gains_of
from autoft.tuner.prepare import Ground
from autoft.tuner.rerun import rerun_of
from autoft.tuner.run_folder import RunFolder

LINE = [f"interpolation {share:g} from" for share in SHARES]
OBJECTIVE = Objective("loss", "min")


@pytest.fixture(scope="module")
def ground():
    data = data_of(16, train=25)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(6, 6, 3, stride=2),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(6, 5),
    )
    recipe = recipe_of().override({"optimisation.memory_format": "contiguous"})
    example = {"input": torch.zeros(2, 3, 16, 16)}
    return Ground(recipe, load_model(recipe.model, num_outputs=5, module=net, example=example), data, net)


@pytest.fixture(scope="module")
def run(ground, tmp_path_factory):
    """A run of a head-only baseline, of a deeper trial and of one whose checkpoint was dropped."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "tiny")
    head = ground.recipe.override({"stages": ground.recipe.full()["stages"][:1]})
    tree = StageTree(folder.stages)
    plans = [(head, "baseline:head_only"), (ground.recipe, "tpe"), (ground.recipe, "tpe")]
    return folder, tuple(
        record_of(number, recipe, origin, trained(ground, recipe, tree, folder.trial(number), keep=number < 2))
        for number, (recipe, origin) in enumerate(plans)
    )


def trained(ground, recipe, tree, folder, *, keep):
    """The curve; what is kept has moved as far as the recipe can move it."""
    loaded = ground.loaded.reset()
    trainer = StagedTrainer(recipe, loaded, ground.data, OBJECTIVE, tree=tree)
    while trainer.advance():
        pass
    if keep:
        groups = loaded.groups if len(recipe.stages) > 1 else loaded.groups[-1:]
        names = [name for group in groups for name in group.parameters]
        weights = {name: 1.1 * loaded.module.get_parameter(name).detach() for name in names}
        write_checkpoint(folder / "checkpoint", {"trial_best": weights}, {"best": "trial_best"})
    return trainer.curve


def record_of(number, recipe, origin, curve):
    return TrialRecord(number, TrialState.COMPLETE, Proposal(recipe.full(), origin), curve)


def found(run, ground, winner, *, left_s=None, folder=None):
    allowance = Allowance(Closing(until=left_s, now=lambda: 0.0), 1.0)
    where, records = run
    contest = Contest(folder or where, ground, records, OBJECTIVE, {}, allowance)
    return gains_of(contest, Delivery(records[winner]), scored=2)


def kinds(improved):
    return [each.kind for each in improved.tried]


def test_the_line_begins_at_the_winners_own_head_stage(run, ground):
    improved, notes = found(run, ground, 1)
    assert kinds(improved) == [*(f"{each} its head stage" for each in LINE), "soup of the winner and trial 0"]
    assert notes == []


def test_without_the_result_of_that_stage_it_begins_at_the_head_of_the_baseline(run, ground, tmp_path):
    folder = RunFolder(tmp_path / "tiny")
    folder.path.mkdir()
    folder.trials.symlink_to(run[0].trials)
    improved, _ = found(run, ground, 1, folder=folder)
    assert kinds(improved)[: len(LINE)] == [f"{each} the head of trial 0" for each in LINE]


def test_a_winner_with_a_frozen_backbone_has_no_line(run, ground):
    improved, notes = found(run, ground, 0)
    assert kinds(improved) == ["soup of the winner and trial 1"]
    assert notes == []


def test_what_the_winner_kept_beside_its_weights_is_tried_first_and_the_recipe_leads_to_it(run, ground, tmp_path):
    folder = RunFolder(tmp_path / "tiny")
    folder.path.mkdir()
    records = run[1]
    start = {name: each.detach().clone() for name, each in ground.loaded.reset().module.named_parameters()}
    spoilt = {**start, "5.bias": torch.tensor([60.0, 0.0, 0.0, 0.0, 0.0])}
    sections = {"trial_best": spoilt, "trial_best_average": start}
    write_checkpoint(folder.checkpoint(1), sections, {"best": "trial_best"})
    improved, _ = found(run, ground, 1, folder=folder)
    assert kinds(improved)[0] == improved.kind == AVERAGE
    run_again = rerun_of(records[1], OBJECTIVE, search="s", data_fingerprint="d", threads=1, versions={})
    recipe = _with_weights(run_again, records[1], OBJECTIVE, improved)
    assert recipe.stages[-1].ema_decay == AVERAGED
    assert recipe.provenance.value == improved.tried[0].value
    assert recipe.provenance.weights is None


def test_a_winner_whose_weights_are_gone_is_left_alone(run, ground):
    improved, _ = found(run, ground, 2)
    assert improved.plain() == {"kept": None, "tried": []}


@pytest.mark.parametrize(("left_s", "told"), [(3.9, "none tried"), (4.0, None)], ids=["too short", "long enough"])
def test_what_there_is_no_time_for_is_told(run, ground, left_s, told):
    """One micro-batch each: the winner, one mixture, two on the test split."""
    improved, notes = found(run, ground, 1, left_s=left_s)
    assert bool(improved.tried) is (told is None)
    assert [note for note in notes if "the time budget ended first" in note] == notes
    assert all(told in note for note in notes) if told else notes == []
