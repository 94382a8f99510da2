"""What the scheduler tells the conductor of workers that die or do not come, with trials as Ray Tune has them."""

import json
import types

import pytest
from ray.tune.experiment import Trial

from autoft.errors import SearchFailedError, StorageError
from autoft.record import Action, Evaluation
from autoft.tuner import ray_adapters
from autoft.tuner.ray_adapters import WORKER_RESTARTS, ConductedScheduler, ConductedSearcher, StarvedError
from autoft.tuner.ray_trainable import REPORT
from autoft.tuner.silence import Silence
from autoft.tuner.worker import Report


class Listening:
    """A conductor that only listens."""

    used_up = None

    def __init__(self):
        self.causes, self.refused, self.notes, self.put_back_trials, self.slots = [], [], [], [], 2

    def hear(self, number, report):
        self.refused += [report.refused] if report.refused else []
        return Action.CONTINUE

    def lost(self, number, cause):
        self.causes.append((number, cause))

    def put_back(self, number):
        self.put_back_trials.append(number)

    def resize(self, slots):
        self.slots = slots

    def say(self, note):
        self.notes.append(note)


def a_trial(path, status=Trial.RUNNING, told="", failures=0):
    (path / "error.txt").write_text(f"Failure # 1 (a node)\nFailure # {failures}\n{told}\n")
    facts = types.SimpleNamespace(num_failures=failures)
    return types.SimpleNamespace(
        trial_id="a",
        status=status,
        config={"number": 7},
        run_metadata=facts,
        error_file=str(path / "error.txt"),
        temporary_state=types.SimpleNamespace(ray_actor=None),
    )


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        ("1 worker(s) were killed due to the node running low on memory.", "its node ran out of memory"),
        ("The actor died because its node has died.", "the node of the worker process died"),
        ("The actor is dead because its owner has died.", "the worker process died"),
    ],
)
def test_a_worker_that_died_too_often_is_told_with_its_cause(tmp_path, told, cause):
    conductor = Listening()
    scheduler = ConductedScheduler(conductor)
    scheduler.on_trial_error(None, a_trial(tmp_path, told=told, failures=WORKER_RESTARTS))
    assert conductor.causes == []
    scheduler.on_trial_error(None, a_trial(tmp_path, told=told, failures=WORKER_RESTARTS + 1))
    [(number, said)] = conductor.causes
    assert number == 7
    assert said.endswith(cause)


def test_a_worker_ended_for_lack_of_memory_is_not_counted_where_the_trial_then_needs_less(tmp_path):
    conductor, asked, found = Listening(), [], ["trial 7 ran out of memory", None]
    scheduler = ConductedScheduler(conductor, mourn=lambda *given: asked.append(given) or found.pop(0))
    lives = a_trial(tmp_path, told="The node was running low on memory", failures=WORKER_RESTARTS)
    scheduler.on_trial_error(None, lives)
    assert (conductor.notes, lives.run_metadata.num_failures) == (["trial 7 ran out of memory"], 0)
    another = a_trial(tmp_path, told="Some common causes: killed by the OOM killer", failures=WORKER_RESTARTS)
    scheduler.on_trial_error(None, another)
    assert another.run_metadata.num_failures == WORKER_RESTARTS
    assert asked == [({"number": 7}, True), ({"number": 7}, False)]


def test_a_trial_that_tune_gave_up_because_its_worker_was_dead_already_is_handed_out_again(tmp_path):
    conductor = Listening()
    scheduler = ConductedScheduler(conductor)
    for deaths in range(1, WORKER_RESTARTS + 1):
        trial = a_trial(tmp_path, status=Trial.ERROR, failures=1)
        trial.trial_id = str(deaths)
        scheduler.on_trial_error(None, trial)
        trial.status, trial.run_metadata.num_failures = Trial.PENDING, 2  # the same death, told again
        scheduler.on_trial_error(None, trial)
        assert conductor.put_back_trials == [7] * deaths
    last = a_trial(tmp_path, status=Trial.PENDING, failures=2)
    scheduler.on_trial_error(None, last)
    assert conductor.causes == [(7, "the worker process died")]
    assert conductor.put_back_trials == [7] * WORKER_RESTARTS


def test_a_node_that_does_not_share_the_run_folder_costs_no_trial(tmp_path):
    conductor = Listening()
    told = "RuntimeError: Unable to set up cluster storage with the following settings"
    ConductedScheduler(conductor).on_trial_error(None, a_trial(tmp_path, told=told, failures=WORKER_RESTARTS + 1))
    assert conductor.causes == []
    assert "--storage-path on storage that all nodes share" in conductor.refused[0]


def test_what_the_ledger_refuses_is_kept_for_whoever_started_tune(tmp_path):
    class Refusing(Listening):
        def hear(self, number, report):
            raise StorageError("study.db: the disk is full")

    scheduler = ConductedScheduler(Refusing())
    with pytest.raises(StorageError, match="the disk is full") as error:
        scheduler.on_trial_result(None, a_trial(tmp_path), {REPORT: json.dumps(Report().plain())})
    assert scheduler.refusal is error.value


def test_deaths_count_until_the_next_evaluation(tmp_path):
    scheduler, trial = ConductedScheduler(Listening()), a_trial(tmp_path, failures=2)
    one = Evaluation(index=1, stage="head", epoch=1, step=1, value=0.5, train_loss=0.1, val_loss=0.1)
    result = {REPORT: json.dumps(Report(evaluations=(one,)).plain())}
    scheduler.on_trial_result(None, trial, result)
    assert trial.run_metadata.num_failures == 0
    trial.run_metadata.num_failures = 2
    scheduler.on_trial_result(None, trial, result)  # the next worker tells it again
    assert trial.run_metadata.num_failures == 2


def test_a_search_without_workers_says_so_and_ends_with_its_budget(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(ray_adapters.time, "monotonic", lambda: now[0])
    conductor = Listening()
    scheduler = ConductedScheduler(conductor)
    controller = types.SimpleNamespace(get_trials=lambda: [trial])
    trial = a_trial(tmp_path, status=Trial.PENDING)
    assert scheduler.choose_trial_to_run(controller) is trial
    now[0] += 121.0
    scheduler.choose_trial_to_run(controller)
    assert "no node had room for a trial" in conductor.notes[0]
    conductor.used_up = "the time budget of the search was used up"
    with pytest.raises(StarvedError):
        scheduler.choose_trial_to_run(controller)
    trial.status = Trial.RUNNING
    assert scheduler.choose_trial_to_run(controller) is None


def test_nodes_are_counted_now_and_then(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(ray_adapters.time, "monotonic", lambda: now[0])
    conductor, asked = Listening(), []
    scheduler = ConductedScheduler(conductor, room=lambda: asked.append(now[0]) or 4)
    controller = types.SimpleNamespace(get_trials=list)
    for _ in range(3):
        scheduler.choose_trial_to_run(controller)
        now[0] += 3.0
    scheduler.choose_trial_to_run(controller)
    assert asked == [106.0]
    assert conductor.slots == 4


def test_a_worker_that_hangs_is_ended_and_its_trial_is_out_of_time(tmp_path, monkeypatch):
    heard, killed, now = [], [], [0.0]
    monkeypatch.setattr(ray_adapters, "Silence", lambda: Silence(lambda: now[0]))
    monkeypatch.setattr(ray_adapters.ray, "kill", killed.append)
    conductor = Listening()
    conductor.hear = lambda number, report: heard.append((number, report))
    trial = a_trial(tmp_path)
    trial.config["until"], trial.temporary_state.ray_actor = 10.0, "its actor"
    scheduler, tune = ConductedScheduler(conductor), types.SimpleNamespace(get_trials=lambda: [trial])
    for now[0] in (0.0, 60.0, 80.0, 81.0):
        assert scheduler.choose_trial_to_run(tune) is None
    assert heard == [(7, Report(out_of_time=True, done=True))]
    assert (killed, trial.max_failures) == (["its actor"], 0)
    assert "said nothing for 80 s and was ended" in conductor.notes[0]
    scheduler.on_trial_error(None, trial)
    assert conductor.causes == []


class Wrapper:
    """As Tune gives its controller to schedulers: what is set on it changes nothing."""

    def __init__(self, controller):
        self._tune_controller, self._actor_manager = controller, types.SimpleNamespace(_actor_task_failed=None)

    def __getattr__(self, name):
        return getattr(self._tune_controller, name)


class Cleaning:
    """A controller that asks Ray for something at its end."""

    def __init__(self):
        self.cleaned = False

    def cleanup(self):
        self.cleaned = True


def test_where_ray_is_no_more_nothing_more_is_asked_of_it(tmp_path):
    def alive():
        raise SearchFailedError("Ray's own GCS process has ended")

    controller = Cleaning()
    scheduler = ConductedScheduler(Listening(), alive=alive)
    scheduler.on_trial_add(Wrapper(controller), a_trial(tmp_path))
    for asked in (
        lambda: scheduler.choose_trial_to_run(controller),
        lambda: ConductedSearcher(Listening(), scheduler.look_for_ray).suggest("a"),
    ):
        with pytest.raises(SearchFailedError, match="GCS"):
            asked()
    controller.cleanup()
    assert not controller.cleaned
