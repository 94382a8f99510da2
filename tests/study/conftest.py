import shutil

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, distribution_to_json
from postgres import serving

from autoft.record import Evaluation, Objective, Proposal
from autoft.study import OptunaLedger, sqlite_url

DISTRIBUTIONS = {
    "depth": distribution_to_json(IntDistribution(0, 8)),
    "lr": distribution_to_json(FloatDistribution(1e-5, 1e-2, log=True)),
    "norm": distribution_to_json(CategoricalDistribution(["train", "eval"])),
}


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A file with Optuna's tables: making them takes longer than most tests."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    OptunaLedger(sqlite_url(path), "empty", Objective("accuracy", "max")).close()
    return path


@pytest.fixture(scope="session")
def postgres():
    yield from serving()


@pytest.fixture
def url(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "study.db")
    return sqlite_url(tmp_path / "study.db")


@pytest.fixture
def objective():
    return Objective("accuracy", "max")


@pytest.fixture
def proposal():
    def build(depth=3, **changes):
        recipe = {"model": {"name": "tiny"}, "stages": [{"name": "tune", "unfreeze": depth, "epochs": 3}], "seed": 0}
        params = {"depth": depth, "lr": 1e-3, "norm": "eval"}
        return Proposal(
            **({"recipe": recipe, "origin": "tpe", "params": params, "distributions": DISTRIBUTIONS} | changes)
        )

    return build


@pytest.fixture
def evaluation():
    def build(index, value=0.5, **changes):
        row = {"index": index, "stage": "tune", "epoch": float(index), "step": 10 * index, "value": value}
        row |= {"train_loss": 0.4, "val_loss": 0.6, "metrics": {"accuracy": value, "log_loss": 0.6}, "compute_s": 0.25}
        return Evaluation(**(row | changes))

    return build
