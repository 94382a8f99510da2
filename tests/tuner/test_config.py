"""Search configurations: files, options, overrides."""

import pytest

from autoft.errors import ConfigError, UnknownNameError
from autoft.recipe import parse_assignment
from autoft.space import shipped
from autoft.tuner.config import SearchConfig, resolve_config


def resolved(*assignments, file=None, **options):
    options = {"model.name": "resnet18", "data.source": "digits"} if not (file or options) else options
    return resolve_config(file, [parse_assignment(text) for text in assignments], options)


def written(tmp_path, text):
    path = tmp_path / "search.yaml"
    path.write_text(text)
    return path


def test_a_model_and_data_are_all_that_is_needed():
    config = resolved()
    assert config.model.name == "resnet18"
    assert config.data.source == "digits"
    assert [stage.name for stage in config.stages] == ["head", "tune"]
    assert {"depth", "lr", "head_lr", "dropout", "weight_decay", "norm"} <= set(config.space)


def test_what_was_resolved_reads_back_unchanged():
    config = resolved("space=staged", "search.seed=3", "data.image_size=96")
    assert SearchConfig.parse(config.full(), where="again") == config


def test_a_part_of_a_space_can_be_set_though_the_space_is_a_name():
    config = resolved("space.lr.high=1e-3", "space=layerwise_lr")
    assert config.space["lr"]["high"] == 1e-3
    assert "layer_decay" in config.space


def test_options_win_over_the_file_and_assignments_over_options(tmp_path):
    path = written(tmp_path, "model: resnet18\ndata: digits\nsearch: {num_samples: 5, seed: 1}\n")
    config = resolve_config(path, [("search.seed", 3)], {"search.num_samples": 7, "search.seed": 2})
    assert (config.search.num_samples, config.search.seed) == (7, 3)


def test_short_forms_in_the_file_mean_the_long_ones(tmp_path):
    short = resolved(file=written(tmp_path, "model: resnet18\ndata: photos/\nspace: smoke\n"))
    assert (short.model.name, short.data.source) == ("resnet18", "photos/")
    assert short.space


def test_a_space_may_be_a_file(tmp_path):
    space = tmp_path / "mine.yaml"
    space.write_text(
        "space:\n  lr: {path: stages.tune.lr, type: float, low: 1e-5, high: 1e-3, log: true}\n"
        "stages: [{name: tune, epochs: 2, unfreeze: 1}]\n"
    )
    config = resolve_config(None, [], {"model.name": "m", "data.source": "d", "space": str(space)})
    assert list(config.space) == ["lr"]
    assert config.stages[0].epochs == 2


def test_the_base_recipe_has_the_searchs_seed():
    assert resolved("search.seed=5").base_recipe().seed == 5


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        pytest.param(
            "search.num_sample=3", "search.num_sample: unknown key (did you mean 'num_samples'", id="near name"
        ),
        pytest.param("search.time_budget_s=0", "search.time_budget_s: must be greater than 0, got 0", id="no budget"),
        pytest.param("output.name=../x", "output.name: must be a plain file name", id="path as name"),
        pytest.param(
            "output.storage_path=http://bucket/runs",
            "output.storage_path: must be a folder, or a URL that begins with file, s3",
            id="URL of another kind",
        ),
        pytest.param("output.name=a/b", "output.name: must be a plain file name", id="folder in name"),
        pytest.param("output.name=..", "output.name: must be a plain file name", id="folder above as name"),
        pytest.param('output.name="a\\nb"', "must be a plain file name, without '/' and control", id="two lines"),
        pytest.param(
            "output={name: my run, storage_path: 's3://bucket/runs'}",
            "'.' or '-', where storage_path is a URL, got 'my run'",
            id="space in a URL",
        ),
        pytest.param("search.sampler=tpee", "search.sampler: must be 'tpe', 'gp', 'cmaes'", id="sampler"),
        pytest.param(
            "search.objectives=[cost, accuracy]",
            "search.objectives: must begin with the metric",
            id="what is no metric first",
        ),
        pytest.param(
            "search.objectives=[mae, cost, cost]", "must differ, got cost more than once", id="twice the same"
        ),
        pytest.param(
            "search={forgetting: off, objectives: [accuracy, forgetting]}",
            "search: forgetting must be on where it is one of the objectives",
            id="an objective that is not measured",
        ),
        pytest.param("search.constraints.min_retention=2", "min_retention: must be less than", id="retention"),
        pytest.param("search.constraints.max_latency_ms=0", "max_latency_ms: must be greater than 0", id="latency"),
        pytest.param("search.objectives=[accuracy]", "search.objectives: ", id="one objective"),
        pytest.param("search.objectives=[[accuracy], cost]", "search.objectives.0: must be a valid", id="nested"),
        pytest.param("spaec=smoke", "spaec: unknown key (did you mean 'space'", id="section"),
        pytest.param("stages.tnue.lr=1", "there is no 'tnue' (did you mean 'tune'?)", id="stage"),
        pytest.param("confirm=maybe", "confirm: must be on, off or a mapping of settings", id="switch"),
        pytest.param("search=3", "search: must be a mapping of settings, got 3", id="section of another kind"),
        pytest.param("search.objectives=cost", "objectives: must be a list, got 'cost'", id="no list"),
        pytest.param("search.objectives=[cost]", "must have at least 2 items, not 1, got ['cost']", id="short list"),
        pytest.param("space=[1]", "space: must be a mapping", id="space of another kind"),
    ],
)
def test_a_broken_rule_is_told_with_its_path(assignment, told):
    with pytest.raises(ConfigError) as caught:
        resolved(assignment)
    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["my run", ".hidden", "Käfer & Co.", "100%?", "x" * 200])
def test_a_run_whose_folder_was_renamed_has_the_folders_name(name):
    assert resolved().override({"output.name": name}).output.name == name


def test_a_study_that_would_stay_behind_is_refused():
    with pytest.raises(ConfigError, match=r"search.storage must be a database server where output.storage_path is"):
        resolved("output.storage_path=s3://bucket/runs", "search.storage=sqlite:///x.db")


def test_the_first_objective_is_the_metric_and_no_other_is():
    config = resolved("search.objectives=[log_loss, cost]")
    assert config.search.metric == "log_loss"
    assert SearchConfig.parse(config.full(), where="again") == config
    with pytest.raises(ConfigError, match="must begin with the metric, accuracy, got log_loss"):
        resolved("search.metric=accuracy", "search.objectives=[log_loss, cost]")


def test_all_errors_of_a_file_are_told_at_once(tmp_path):
    path = written(tmp_path, "model: m\ndata: {imagesize: 3}\nsearch: {seed: -1, sampler: x}\n")
    with pytest.raises(ConfigError) as caught:
        resolve_config(path)
    text = str(caught.value)
    assert all(part in text for part in ("data.imagesize", "search.seed", "search.sampler", str(path)))


def test_an_unknown_space_names_the_nearest():
    with pytest.raises(UnknownNameError, match="freeze_depth"):
        resolved("space=freeze_dept")


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match="must be a mapping of sections"):
        resolve_config(written(tmp_path, text))


@pytest.mark.parametrize(
    ("assignments", "expected"),
    [
        pytest.param([], ("auto", None), id="by itself"),
        pytest.param(["reuse=off"], ("off", None), id="off"),
        pytest.param(["reuse=on"], ("auto", None), id="on, where it pays"),
        pytest.param(["reuse.activations=on", "reuse.max_bytes=1000"], ("on", 1000), id="wherever it fits"),
    ],
)
def test_reuse_is_on_unless_it_is_turned_off(assignments, expected):
    config = resolved(*assignments)
    assert (config.reuse.activations, config.reuse.max_bytes) == expected
    assert SearchConfig.parse(config.full(), where="again") == config


@pytest.mark.parametrize("text", ["reuse=sometimes", "reuse.activations=much", "reuse.max_bytes=0"])
def test_reuse_refuses_what_it_does_not_know(text):
    with pytest.raises(ConfigError, match="reuse"):
        resolved(text)


def test_a_run_that_goes_on_may_be_given_another_space_by_name():
    config = resolve_config(None, [], {"model.name": "resnet18"})
    assert config.override({"space": "smoke"}).space == shipped("smoke")["space"]
    with pytest.raises(UnknownNameError, match="smokey"):
        config.override({"space": "smokey"})
