"""``autoft plan`` as a process: it tells, and leaves nothing behind."""

import json
import subprocess
import sys

import pytest

from autoft.cli.edge import guarded
from autoft.cli.main import app

SMALL = (
    "--model=mobilenetv3_small_050",
    "--set=model.weights=random",
    "--set=data.image_size=32",
    "--set=data.batch_size=8",
)


@pytest.mark.slow
def test_a_plan_tells_costs_bytes_and_trials_and_writes_nothing(autoft, printed, photos, tmp_path, monkeypatch):
    options = ("plan", *SMALL, "--data", photos, "--num-samples=8", "--time-budget=10m")
    done = autoft(*options, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    assert list(told["baselines"]) == ["head_only", "standard", "full"]
    assert all(seconds > 0 for seconds in told["baselines"].values())
    assert 1 <= len(told["portfolio"]) <= 5, "eight recipes in all, three of them baselines"
    assert all(seconds > 0 for seconds in told["portfolio"].values())
    assert told["depths"]["0"]["predicted_s"] <= max(each["predicted_s"] for each in told["depths"].values())
    assert told["plan"]["bytes"] == sum(kept["nbytes"] for kept in told["plan"]["kept"])
    assert told["affords"] >= 3
    assert told["wall_s"] > 0
    assert list(tmp_path.iterdir()) == []

    monkeypatch.chdir(tmp_path)
    shown = printed(*options)
    assert "baseline head_only" in shown
    assert all(f"portfolio {name}" in shown for name in told["portfolio"])
    assert "afford about" in shown


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--model=mobilenetv3_small_050",), "data.source: is required"),
        (("--model=nosuchnet", "--data=digits"), "nosuchnet"),
    ],
    ids=["no data", "no such model"],
)
def test_bad_input_is_told_in_a_sentence(capsys, options, told):
    assert guarded(lambda: app(["plan", *options], standalone_mode=False)) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "Traceback" not in err


def test_a_plan_does_not_load_ray(environment):
    program = "import sys, autoft.tuner.preview; sys.exit('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=False)
    assert done.returncode == 0
