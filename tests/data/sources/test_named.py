"""Names of sources, checked without reading anything."""

from autoft.data.named import BUILT_IN
from autoft.data.sources.builtin import BUILTINS


def test_every_built_in_name_has_data_and_all_data_have_a_name():
    assert tuple(BUILTINS) == BUILT_IN
