"""Workers that hang: who says nothing long after its time was up is told apart from who is slow."""

from autoft.tuner.silence import Silence


def silence(at):
    """With a clock that shows the last of ``at``."""
    return Silence(lambda: at[-1])


def test_a_worker_that_speaks_is_never_silent_for_too_long():
    at = [0.0]
    heard = silence(at)
    for second in range(0, 500, 20):
        at.append(float(second))
        heard.broken("a")
        assert heard.too_long_s("a", until=100.0) is None


def test_a_worker_that_is_silent_is_borne_until_its_time_is_up_and_a_minute_longer():
    at = [0.0]
    heard = silence(at)
    assert heard.too_long_s("a", until=100.0) is None
    for second, said in ((99.0, None), (169.0, None), (171.0, 171.0)):
        at.append(second)
        assert heard.too_long_s("a", until=100.0) == said


def test_without_a_time_to_stop_at_silence_is_borne_for_ever():
    at = [0.0]
    heard = silence(at)
    assert heard.too_long_s("a", until=None) is None
    at.append(1e9)
    assert heard.too_long_s("a", until=None) is None


def test_where_evaluations_are_far_apart_silence_is_borne_for_longer():
    at = [0.0]
    heard = silence(at)
    heard.too_long_s("a", until=1000.0)
    at.append(900.0)
    heard.broken("a")
    heard.too_long_s("b", until=1000.0)
    at.append(1900.0)
    assert heard.too_long_s("b", until=1000.0) is None
    at.append(1980.0)
    assert heard.too_long_s("b", until=1000.0) == 1080.0


def test_a_trial_that_is_started_after_its_time_has_its_patience_from_then_on():
    at = [500.0]
    heard = silence(at)
    assert heard.too_long_s("a", until=100.0) is None
    at.append(559.0)
    assert heard.too_long_s("a", until=100.0) is None
    at.append(561.0)
    assert heard.too_long_s("a", until=100.0) == 61.0
