"""What a run's folder is given to keep."""

import pytest

from autoft.errors import RunError
from autoft.record import Objective, Proposal
from autoft.study import OptunaLedger, sqlite_url
from autoft.tuner.config import resolve_config
from autoft.tuner.result import open_ledger
from autoft.tuner.run_folder import RunFolder


def test_a_run_keeps_its_configuration_but_no_password(tmp_path):
    url = "postgresql+psycopg://me:s3cret@host/studies"
    config = resolve_config(None, [], {"model.name": "resnet18", "search.storage": url})
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.write_config(config)
    assert "s3cret" not in folder.config_file.read_text()
    assert folder.read_config() == config.override({"search.storage": "postgresql+psycopg://me@host/studies"})


def test_a_new_run_does_not_take_over_the_study_of_another_one(tmp_path):
    objective, url = Objective("accuracy", "max"), sqlite_url(tmp_path / "all.db")
    with OptunaLedger(url, "photos", objective) as ledger:
        ledger.start(Proposal({"stages": []}, "tpe"))
    folder = RunFolder(tmp_path / "mine" / "photos")
    with pytest.raises(RunError, match="has a study 'photos' of another run, with 1 trials; choose another --name"):
        open_ledger(folder, objective, url)
    folder.write_config(resolve_config(None, [], {"model.name": "resnet18"}))
    with open_ledger(folder, objective, url) as ledger:
        assert len(ledger.trials()) == 1
