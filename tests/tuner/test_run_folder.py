"""What a run's folder is given to keep."""

import pytest

from autoft.errors import DataError, RunError, SearchInterruptedError
from autoft.record import Objective, Proposal
from autoft.study import OptunaLedger, sqlite_url
from autoft.tuner.config import resolve_config
from autoft.tuner.result import open_confirmation, open_ledger
from autoft.tuner.run_folder import RunFolder
from autoft.tuner.search import resume


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
    with pytest.raises(RunError, match="has a study 'photos' of another run, with 1 trial; choose another --name"):
        open_ledger(folder, objective, url)
    folder.write_config(resolve_config(None, [], {"model.name": "resnet18"}))
    with open_ledger(folder, objective, url) as ledger:
        assert len(ledger.trials()) == 1


@pytest.mark.parametrize("content", ["[]", "{}", '{"identity": 3}', "no JSON"])
def test_a_damaged_split_is_told(tmp_path, content):
    folder = RunFolder(tmp_path)
    folder.split_file.write_text(content)
    with pytest.raises(RunError, match=r"split.json: damaged: .*; put it back as it was, or start anew"):
        folder.read_split()


class TestARunThatGoesOn:
    objective = Objective("accuracy", "max")

    @pytest.fixture
    def folder(self, tmp_path):
        folder = RunFolder(tmp_path / "photos")
        folder.write_config(resolve_config(None, [], {"model.name": "resnet18"}))
        study = OptunaLedger(sqlite_url(folder.database), "photos", self.objective)
        for ledger in (study, self.confirmation(folder)):
            with ledger:
                ledger.start(Proposal({"stages": []}, "tpe"))
        return folder

    def confirmation(self, folder):
        return open_confirmation(folder, self.objective, None)

    def test_keeps_its_trials_when_its_folder_is_renamed(self, folder, tmp_path):
        renamed = RunFolder(folder.path.rename(tmp_path / "holiday"))
        for ledger in (open_ledger(renamed, self.objective, None), self.confirmation(renamed)):
            with ledger:
                assert len(ledger.trials()) == 1

    def test_is_not_begun_anew_when_its_study_is_gone(self, folder):
        folder.database.unlink()
        with pytest.raises(RunError, match=r"study.db: is missing, and with it all that was tried; put it back"):
            open_ledger(folder, self.objective, None)
        assert not folder.database.exists()

    def test_says_how_to_go_on_whenever_it_is_interrupted(self, folder):
        told = r"photos: interrupted; nothing is lost, .* autoft resume /"
        with pytest.raises(SearchInterruptedError, match=told), folder.resumable():
            raise KeyboardInterrupt

    def test_is_told_to_put_back_what_no_command_writes_again(self, folder):
        with pytest.raises(RunError, match=r"split.json: is missing; put it back as it was, or start anew"):
            folder.read_json(folder.split_file)

    def test_is_not_begun_anew_under_another_name_in_a_shared_storage(self, folder, tmp_path):
        folder.best_recipe.touch()
        renamed = RunFolder(folder.path.rename(tmp_path / "holiday"))
        with pytest.raises(RunError, match=r"study 'holiday' at .* has no trials; .* rename its folder back"):
            open_ledger(renamed, self.objective, sqlite_url(tmp_path / "all.db"))


def test_an_interruption_before_a_search_has_begun_is_no_more_than_that(tmp_path):
    with pytest.raises(KeyboardInterrupt), RunFolder(tmp_path / "new").resumable():
        raise KeyboardInterrupt


def test_a_run_whose_data_are_not_where_they_were_says_how_to_name_them(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.write_config(resolve_config(None, [], {"model.name": "resnet18", "data.source": "photos/all.csv"}))
    with pytest.raises(
        DataError, match=r"photos/all.csv: does not exist.* was started; .* say where they are with --data"
    ):
        resume(folder.path)
