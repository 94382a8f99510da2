"""Studies on a real PostgreSQL server: several searches in one database, a server that goes away, no password told."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ledger_writers import study_of, value_of
from postgres import PASSWORD
from severed import Severed

from autoft.errors import StorageError, UnknownNameError
from autoft.record import TrialState
from autoft.study import OptunaLedger, check_reachable, read_study
from autoft.study.patience import Patience
from autoft.study.storage import ServerAwayError

WRITERS = Path(__file__).parents[1] / "support" / "ledger_writers.py"


def sentence(error):
    text = str(error.value)
    assert "\n" not in text
    assert PASSWORD not in text
    assert error.value.__suppress_context__
    return text


def test_eight_searches_that_begin_at_once_in_an_empty_database_lose_nothing(postgres):
    command = [sys.executable, WRITERS, postgres.url, "8", "4", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert [len(took["report"]) for took in json.loads(done.stdout)] == [8] * 8
    for writer in range(8):
        records = read_study(postgres.url, study_of(writer)).records
        assert [record.number for record in records] == list(range(4))
        assert {record.state for record in records} == {TrialState.COMPLETE}
        told = [[evaluation.value for evaluation in record.curve] for record in records]
        assert told == [[value_of(writer, number, index) for index in (1, 2)] for number in range(4)]


def test_a_study_of_another_search_is_read_by_its_name(postgres, objective, proposal):
    with OptunaLedger(postgres.url, "earlier", objective) as ledger:
        ledger.start(proposal())
    assert len(read_study(postgres.url, "earlier").records) == 1
    with pytest.raises(UnknownNameError, match="has no study 'earler'") as error:
        read_study(postgres.url, "earler")
    assert PASSWORD not in str(error.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param((PASSWORD, "wrong-" + PASSWORD), "passwords are not kept with a run", id="a wrong password"),
        pytest.param((":" + PASSWORD, ""), "by PGPASSWORD or ~/.pgpass", id="no password"),
        pytest.param(("/postgres", "/nothing"), '"nothing" does not exist; create it', id="no such database"),
        pytest.param(("127.0.0.1", "no-such-host.invalid"), "no-such-host.invalid", id="no such host"),
    ],
)
def test_a_refusal_is_one_sentence_without_the_password(postgres, objective, change, told):
    url = postgres.url.replace(*change)
    for ask in (lambda: check_reachable(url), lambda: OptunaLedger(url, "s", objective)):
        with pytest.raises(StorageError) as error:
            ask()
        assert told in sentence(error)


def test_the_password_may_come_from_the_environment(postgres, monkeypatch, objective, proposal):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    check_reachable(postgres.open_url)
    with OptunaLedger(postgres.open_url, "environment", objective) as ledger:
        assert ledger.start(proposal()) == 0


def test_a_server_that_is_restarted_costs_nothing(postgres, objective, proposal, evaluation):
    with OptunaLedger(postgres.url, "restarted", objective) as ledger:
        number = ledger.start(proposal())
        postgres.stop()
        back = threading.Timer(0.7, postgres.start)
        back.start()
        try:
            ledger.report(number, evaluation(1, 0.5))
        finally:
            back.join()
        ledger.finish(number, TrialState.COMPLETE)
    (record,) = read_study(postgres.url, "restarted").records
    assert (record.state, record.curve) == (TrialState.COMPLETE, (evaluation(1, 0.5),))


def test_a_trial_whose_commit_was_not_answered_is_there_once(postgres, objective, proposal, evaluation):
    way = Severed(postgres.port)
    try:
        with OptunaLedger(postgres.url.replace(f":{postgres.port}/", f":{way.port}/"), "severed", objective) as ledger:
            ledger.start(proposal())
            way.lose_next_answer()
            assert ledger.start(proposal()) == 1
            way.lose_next_answer()
            ledger.report(1, evaluation(1))
            way.lose_next_answer()
            ledger.finish(1, TrialState.COMPLETE)
            assert way.lost >= 3
    finally:
        way.close()
    first, second = read_study(postgres.url, "severed").records
    assert (first.number, second.number, second.state) == (0, 1, TrialState.COMPLETE)
    assert second.curve == (evaluation(1),)


def test_a_server_that_stays_away_ends_the_wait_with_a_sentence_and_the_study_goes_on_later(
    postgres, objective, proposal, evaluation
):
    with OptunaLedger(postgres.url, "away", objective) as ledger:
        ledger._patience = Patience(0.5)
        number = ledger.start(proposal())
        ledger.report(number, evaluation(1))
        postgres.stop()
        try:
            with pytest.raises(
                ServerAwayError, match=r"refused; check that the database runs .*, then go on with autoft resume"
            ) as error:
                ledger.report(number, evaluation(2))
            assert f"127.0.0.1:{postgres.port}" in sentence(error)
            with pytest.raises(ServerAwayError):
                ledger.suspend(number)
        finally:
            postgres.start()
    with OptunaLedger(postgres.url, "away", objective) as ledger:
        assert ledger.trials()[0].curve == (evaluation(1),)
        ledger.report(number, evaluation(2))
        assert len(ledger.trials()[0].curve) == 2
