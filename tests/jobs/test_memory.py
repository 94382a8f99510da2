import pytest
from submitter_contract import FAILING, SubmitterContract

from autoft.jobs.memory import MemorySubmitter


def play(entrypoint, _package):
    yield "hello\n"
    if entrypoint == FAILING:
        raise SystemExit(3)
    while True:
        yield "\n"


@pytest.fixture(scope="module")
def submitter():
    return MemorySubmitter(play, "2.0.0")


class TestMemorySubmitter(SubmitterContract):
    pass
