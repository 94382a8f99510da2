import gc

import pytest

from autoft.lazily import much_imported


def fail_to_import():
    with much_imported():
        assert not gc.isenabled()
        raise ImportError


@pytest.mark.parametrize("on", [True, False])
def test_garbage_is_looked_for_afterwards_if_it_was_before_also_where_the_import_failed(on):
    was_on = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        with pytest.raises(ImportError):
            fail_to_import()
        assert gc.isenabled() == on
    finally:
        (gc.enable if was_on else gc.disable)()
