import pytest

from autoft.errors import ConfigError
from autoft.tuner.ray_temp import check_sockets_fit

LONG = "/scratch/" + 40 * "é"


def test_a_folder_too_deep_for_sockets_is_refused_with_the_remedy():
    with pytest.raises(ConfigError, match=f"TMPDIR: .* 39 bytes at most, got '{LONG}'; set RAY_TMPDIR to a shorter"):
        check_sockets_fit({"TMPDIR": LONG})


@pytest.mark.parametrize("environment", [{}, {"TMPDIR": "/tmp"}, {"TMPDIR": LONG, "RAY_TMPDIR": "/tmp"}], ids=str)
def test_a_short_one_and_that_which_ray_takes_first_are_fine(environment):
    check_sockets_fit(environment)
