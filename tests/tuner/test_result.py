"""Reading the result of a run that somebody, or a full disk, has damaged."""

import json

import pytest

from autoft.errors import RunError
from autoft.tuner.config import resolve_config
from autoft.tuner.result import SearchResult
from autoft.tuner.run_folder import RunFolder

SUMMARY = {
    "metric": "accuracy",
    "mode": "max",
    "best_value": 0.9,
    "winner": 0,
    "test": None,
    "baselines": {},
    "trials": {},
    "reasons": {},
    "wall_s": 1.0,
    "compute_s": 1.0,
}


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "my run")
    folder.write_config(resolve_config(None, [], {"model.name": "resnet18"}))
    folder.write_json(folder.summary, SUMMARY)
    return folder


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param("{}", "damaged: it has no 'metric'", id="empty"),
        pytest.param("[]", "damaged: it has no 'metric'", id="a list"),
        pytest.param(json.dumps(SUMMARY)[:20], "damaged: Unterminated string", id="truncated"),
    ],
)
def test_a_damaged_summary_is_named_with_the_command_that_writes_it_again(folder, content, told):
    folder.summary.write_text(content)
    with pytest.raises(RunError, match=f"summary.json: {told}.*; autoft resume '.*/my run' writes it again"):
        SearchResult.load(folder.path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(None, "is missing", id="missing"),
        pytest.param(b"", "damaged: No columns to parse from file", id="empty"),
        pytest.param(b"garbage\n1\n", "damaged: it has no column 'trial'", id="another table"),
        pytest.param(b"trial,\xff", "damaged: 'utf-8' codec can't decode", id="bytes"),
    ],
)
def test_a_damaged_table_is_named_with_the_command_that_writes_it_again(folder, content, told):
    if content is not None:
        folder.trials_csv.write_bytes(content)
    with pytest.raises(RunError, match=f"trials.csv: {told}.*; autoft resume '.*/my run' writes it again"):
        SearchResult.load(folder.path).trials_dataframe()
