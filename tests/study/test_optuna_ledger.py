"""The ledger as Optuna and its dashboard see it, and what it says when the database refuses."""

import sqlite3
import subprocess
import sys

import optuna
import pytest

from autoft.errors import ConfigError, StorageError
from autoft.record import Objective, TrialState
from autoft.study import OptunaLedger, kept_url, shown_url, sqlite_url


@pytest.fixture
def ledger(url, objective):
    with OptunaLedger(url, "photos", objective) as opened:
        yield opened


def run_trial(ledger, proposal, values, evaluation, state=TrialState.COMPLETE, **reason):
    number = ledger.start(proposal)
    for index, value in enumerate(values, start=1):
        ledger.report(number, evaluation(index, value))
    ledger.finish(number, state, **reason)
    return number


class TestAsOptunaSeesIt:
    def test_parameters_have_their_distributions(self, ledger, proposal, evaluation):
        run_trial(ledger, proposal(3), [0.5], evaluation)
        (trial,) = ledger.study.trials
        assert trial.params == {"depth": 3, "lr": 1e-3, "norm": "eval"}
        assert trial.distributions["lr"] == optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True)

    def test_steps_are_evaluations_and_values_the_best_so_far(self, ledger, proposal, evaluation):
        run_trial(ledger, proposal(), [0.5, float("nan"), 0.4, 0.7], evaluation)
        (trial,) = ledger.study.trials
        assert trial.intermediate_values == {1: 0.5, 2: 0.5, 3: 0.5, 4: 0.7}

    def test_what_is_no_number_is_no_step(self, ledger, proposal, evaluation):
        run_trial(ledger, proposal(), [float("nan"), 0.5], evaluation)
        assert ledger.study.trials[0].intermediate_values == {2: 0.5}

    @pytest.mark.parametrize(
        ("state", "values", "told"),
        [
            pytest.param(TrialState.COMPLETE, [0.5, 0.7, 0.6], 0.7, id="complete: the best"),
            pytest.param(TrialState.PRUNED, [0.5, 0.7, 0.6], 0.7, id="pruned: the best"),
            pytest.param(TrialState.PRUNED, [float("nan")], None, id="pruned without a number"),
            pytest.param(TrialState.FAIL, [0.5], None, id="failed: none"),
        ],
    )
    def test_an_ended_trial_has_its_value(self, ledger, proposal, evaluation, state, values, told):
        run_trial(ledger, proposal(), values, evaluation, state, reason="rule", reason_text="a sentence")
        (trial,) = ledger.study.trials
        assert (trial.state.name, trial.value) == (state, told)
        assert (trial.user_attrs["reason"], trial.user_attrs["reason_text"]) == ("rule", "a sentence")
        assert trial.datetime_complete is not None

    def test_a_redone_shorter_run_leaves_no_better_step_behind(self, ledger, proposal, evaluation):
        number = ledger.start(proposal())
        for index, value in ((1, 0.5), (2, 0.9), (3, 0.95), (1, 0.6)):
            ledger.report(number, evaluation(index, value))
        assert ledger.study.trials[0].intermediate_values == {1: 0.6, 2: 0.6, 3: 0.6}

    def test_suspended_trials_wait(self, ledger, proposal):
        ledger.suspend(ledger.start(proposal()))
        assert ledger.study.trials[0].state == optuna.trial.TrialState.WAITING

    def test_importances_can_be_computed(self, ledger, proposal, evaluation):
        for depth in range(6):
            run_trial(ledger, proposal(depth, params={"depth": depth, "lr": 1e-3 / (depth + 1), "norm": "eval"}),
                      [0.1 * depth], evaluation)  # fmt: skip
        assert set(optuna.importance.get_param_importances(ledger.study)) == {"depth", "lr", "norm"}

    def test_the_best_trial_is_found_without_autoft(self, ledger, url, proposal, evaluation):
        for value in (0.3, 0.8, 0.5):
            run_trial(ledger, proposal(), [value], evaluation)
        assert optuna.load_study(study_name="photos", storage=url).best_trial.number == 1

    def test_a_changed_space_costs_no_trial(self, ledger, proposal, evaluation):
        run_trial(ledger, proposal(), [0.5], evaluation)
        other = optuna.distributions.distribution_to_json(
            optuna.distributions.CategoricalDistribution(["eval", "frozen"])
        )
        changed = proposal(params={"depth": 1, "norm": "frozen"}, distributions={"norm": other})
        run_trial(ledger, changed, [0.6], evaluation)
        assert ledger.study.trials[1].params == {}
        assert ledger.trials()[1].proposal.params == {"depth": 1, "norm": "frozen"}


class TestOpening:
    def test_says_nothing(self, url, objective, capfd):
        with OptunaLedger(url, "photos", objective):
            assert capfd.readouterr() == ("", "")

    def test_several_studies_share_a_database(self, url, objective, proposal):
        with OptunaLedger(url, "a", objective) as first, OptunaLedger(url, "b", objective) as second:
            first.start(proposal())
            assert [len(first.trials()), len(second.trials())] == [1, 0]

    def test_writes_ahead_so_that_readers_do_not_block_it(self, ledger, tmp_path):
        with sqlite3.connect(tmp_path / "study.db") as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.close()

    def test_on_a_network_file_system_it_waits_for_the_disk_instead(self, url, objective, monkeypatch):
        monkeypatch.setattr("autoft.study.storage.network_mount", lambda _path: "nfs4")
        with OptunaLedger(url, "photos", objective) as ledger, ledger._backend.engine.connect() as connection:
            told = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
        assert told == ["delete", 2]

    def test_refuses_a_study_with_the_other_direction(self, ledger, url):
        with pytest.raises(StorageError, match="does not minimize, as mae asks for; choose another study name"):
            OptunaLedger(url, "photos", Objective("mae", "min"))

    def test_refuses_trials_of_others(self, url, objective):
        study = optuna.create_study(storage=url, study_name="photos", direction="maximize")
        study.tell(study.ask(), 0.5)
        study._storage._backend.engine.dispose()
        with pytest.raises(StorageError, match="trial 0 was not written by autoft"):
            OptunaLedger(url, "photos", objective)

    def test_notices_a_second_writer(self, ledger, url, objective, proposal):
        with OptunaLedger(url, "photos", objective) as second:
            second.start(proposal())
            with pytest.raises(StorageError, match="written to by another process"):
                ledger.start(proposal())

    @pytest.mark.parametrize("name", ["a {b} c", "100%20", "a?b=c&d#e"])
    def test_a_folder_may_have_any_name(self, tmp_path, objective, proposal, name):
        folder = tmp_path / name
        folder.mkdir()
        with OptunaLedger(sqlite_url(folder / "study.db"), "s", objective) as ledger:
            ledger.start(proposal())
        assert (folder / "study.db").exists()


KILLED = """
import os, signal, sys
from autoft.record import Evaluation, Objective, Proposal
from autoft.study import OptunaLedger
ledger = OptunaLedger(sys.argv[1], "photos", Objective("accuracy", "max"))
number = ledger.start(Proposal({"stages": []}, "tpe"))
for index in (1, 2, 3):
    ledger.report(number, Evaluation(index, "tune", index, index, index / 10, 0.1, 0.1))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_loses_nothing_it_reported(url, objective):
    subprocess.run([sys.executable, "-c", KILLED, url], check=False, timeout=120)
    with OptunaLedger(url, "photos", objective) as ledger:
        (record,) = ledger.trials()
        assert record.state == TrialState.RUNNING
        assert [e.value for e in record.curve] == [0.1, 0.2, 0.3]


class TestRefusals:
    def sentence(self, error):
        text = str(error.value)
        assert "\n" not in text
        assert error.value.__cause__ is None
        assert error.value.__suppress_context__
        return text

    def test_a_locked_database(self, url, objective, proposal, evaluation, tmp_path):
        with OptunaLedger(url, "photos", objective, busy_timeout_s=0.1) as ledger:
            number = ledger.start(proposal())
            other = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StorageError) as error:
                ledger.report(number, evaluation(1))
            other.close()
            assert "database is locked; another process writes to it" in self.sentence(error)
            assert ledger.trials()[0].curve == ()
            ledger.report(number, evaluation(1))

    def test_a_full_disk(self, url, objective, proposal, evaluation):
        with OptunaLedger(url, "photos", objective) as ledger:
            number = ledger.start(proposal())
            engine = ledger._backend.engine
            with engine.connect() as first, engine.connect() as second:  # all that the pool holds
                for connection in (first, second):
                    pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
                    connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
            with pytest.raises(StorageError) as error:
                ledger.report(number, evaluation(1, metrics=dict.fromkeys(map(str, range(5000)), 0.5)))
            assert "database or disk is full; free some space" in self.sentence(error)

    def test_a_folder_that_is_not_there(self, tmp_path, objective):
        with pytest.raises(StorageError) as error:
            OptunaLedger(sqlite_url(tmp_path / "no" / "study.db"), "s", objective)
        assert "unable to open database file; check that the folder exists" in self.sentence(error)

    def test_a_file_that_is_no_database(self, tmp_path, objective):
        (tmp_path / "study.db").write_text("no database " * 100)
        with pytest.raises(StorageError) as error:
            OptunaLedger(sqlite_url(tmp_path / "study.db"), "s", objective)
        assert "file is not a database; give the path of another file" in self.sentence(error)

    def test_a_driver_that_is_not_installed(self, objective):
        with pytest.raises(StorageError) as error:
            OptunaLedger("postgresql+pg8000://me:hunter2@localhost:1/x", "s", objective)
        text = self.sentence(error)
        assert "postgresql+pg8000://me:***@localhost:1/x" in text
        assert "install the driver" in text
        assert "pip install 'autoft[postgres]'" in text
        assert "hunter2" not in text

    @pytest.mark.parametrize("url", ["study.db", "redis://localhost:6379", "", "sqlite:/study", "sqlite:///{x}"])
    def test_what_is_no_storage_url(self, url, objective):
        with pytest.raises(ConfigError, match=r"search.storage: must be the URL of a database"):
            OptunaLedger(url, "s", objective)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        pytest.param("sqlite:////runs/a/study.db", "sqlite:////runs/a/study.db", id="a file"),
        pytest.param("mysql+pymysql://u:secret@h:3306/d", "mysql+pymysql://u:***@h:3306/d", id="in the address"),
        pytest.param(
            "postgresql://h/d?user=u&password=secret", "postgresql://h/d?password=***&user=u", id="in the query"
        ),
        pytest.param("u:secret@h", "the storage URL", id="not a URL"),
    ],
)
def test_urls_are_shown_without_passwords(url, shown):
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        pytest.param("sqlite:////runs/a/study.db", "sqlite:////runs/a/study.db", id="a file"),
        pytest.param("postgresql+psycopg://u:secret@h:5/d", "postgresql+psycopg://u@h:5/d", id="in the address"),
        pytest.param("postgresql://h/d?user=u&password=secret", "postgresql://h/d?user=u", id="in the query"),
    ],
)
def test_urls_are_kept_without_passwords(url, kept):
    assert kept_url(url) == kept
