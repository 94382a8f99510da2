import signal

import pytest

from autoft.cli.edge import guarded
from autoft.cli.main import app
from autoft.recipe import Recipe


@pytest.fixture
def command(capfd, tmp_path, monkeypatch):
    """Run the command line in this process, in an empty folder."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = guarded(
            lambda: app([str(argument) for argument in arguments], standalone_mode=False, prog_name="autoft")
        )
        return code, *capfd.readouterr()

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("verb", ["search", "resume", "best", "train", "groups"])
def test_every_verb_has_help(verb, command):
    code, out, err = command(verb, "--help")
    assert (code, err) == (0, "")
    assert f"Usage: autoft {verb}" in out


def test_without_a_verb_help_is_shown(command):
    _, out, err = command()
    assert "Usage: autoft" in out + err


def test_the_version_is_printed(command):
    assert command("--version")[1].startswith("autoft 0.")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["serach"], "No such command 'serach'"),
        (["search", "--modell", "x"], "No such option"),
        (["search", "--num-samples", "many"], "Invalid value for '--num-samples'"),
        (["search", "--time-budget", "0"], "--time-budget: must be longer than zero"),
        (["search", "--time-budget", "soon"], "--time-budget: must be a length of time"),
        (["search", "--set", "seed"], "--set seed: must be a dotted path"),
        (["resume", "runs/none", "--time-budget", "-1m"], "--time-budget: must be a length of time"),
        (["train", "recipe.yaml"], "Missing option '--data'"),
        (["train", "missing.yaml", "--data", "digits"], "missing.yaml: cannot be read"),
        (["train", ".", "--data", "digits"], ".: is a folder; give a recipe, such as best_recipe.yaml"),
        (["groups", ""], "model: name: must have at least 1 character"),
        (["groups"], "Missing argument 'MODEL'"),
        (["groups", "resnet18", "--image-size", "1"], "Invalid value for '--image-size'"),
        (["groups", "resnet1888"], "resnet18"),
        (["best", "runs/none"], "runs/none: is not a run"),
        (["resume", "runs/none"], "runs/none: is not a run"),
        (
            ["search", "--data", "digits"],
            "model: is required; give the name of a timm model, for example --model resnet18",
        ),
        (["search", "--model", "resnet18"], "data.source: is required"),
        (["search", "--model", "resnet18", "--data", "digits", "--num-samples", "0"], "search.num_samples: must be"),
        (["search", "--model", "resnet18", "--data", "digits", "--name", "../x"], "output.name: "),
        (["search", "-c", "missing.yaml"], "missing.yaml: cannot be read"),
        (["search", "--model", "resnet18", "--data", "digits", "--space", "freeze_dept"], "'freeze_depth'"),
        (
            ["search", "--model", "resnet18", "--data", "digits", "--set", "serach.seed=1"],
            "serach: unknown key (did you mean 'search'",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_sentence_exit_code_two_and_no_trace(arguments, sentence, command, tmp_path):
    code, out, err = command(*arguments)
    assert sentence in err
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_all_errors_of_a_file_are_told_at_once(command, tmp_path):
    (tmp_path / "search.yaml").write_text(
        "model: resnet18\ndata: {source: digits, batchsize: 8}\nsearch: {sampler: tp}\n"
    )
    code, _, err = command("search", "-c", "search.yaml")
    assert code == 2
    assert "search.yaml: data.batchsize: unknown key (did you mean 'batch_size'" in err
    assert "search.yaml: search.sampler: must be" in err


def test_a_read_only_place_is_said_and_nothing_is_written(command, tmp_path):
    (tmp_path / "runs").touch()
    code, _, err = command("search", "--model", "resnet18", "--data", "digits", "--set", "model.weights=random")
    assert code == 2
    assert "runs" in err


def test_train_finds_out_that_it_cannot_write_before_it_trains(command, tmp_path):
    Recipe.parse({"model": "resnet18", "stages": [{"name": "head", "epochs": 1}]}, where="test").save("recipe.yaml")
    (tmp_path / "file").touch()
    code, out, err = command("train", "recipe.yaml", "--data", "digits", "--out", "file")
    assert (code, out) == (2, "")
    assert "file" in err
    assert "epoch" not in err
