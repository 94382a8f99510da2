import gc
import importlib
import subprocess
import sys
import weakref

import pytest

from autoft.lazily import much_imported, put_off


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


class Ring:
    """Refers to itself: only a search for garbage finds it."""

    def __init__(self):
        self.itself = self


def fate_of_a_ring_that_is_dropped(*, after_import):
    """Whether a search for garbage finds it while what was imported is used, and when that has ended."""
    with much_imported() as imported:
        ring = Ring()
        dropped = weakref.ref(ring)
        if after_import:
            imported()
            ring = Ring()
            dropped = weakref.ref(ring)
        else:
            imported()
        assert gc.isenabled()
        del ring
        gc.collect()
        meanwhile = dropped() is None
    gc.collect()
    return meanwhile, dropped() is None


def test_what_is_older_than_the_end_of_the_import_is_not_searched_until_all_is_over():
    assert fate_of_a_ring_that_is_dropped(after_import=True) == (True, True)
    assert fate_of_a_ring_that_is_dropped(after_import=False) == (False, True)
    assert gc.get_freeze_count() == 0


def test_what_somebody_else_has_frozen_stays_so():
    gc.freeze()
    try:
        with much_imported() as imported:
            imported()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


PUT_OFF = """
import sys
from autoft.lazily import put_off

with put_off("colorsys", "rgb_to_hsv", "hsv_to_rgb"):
    from colorsys import rgb_to_hsv
    stand_in = sys.modules["colorsys"]
assert "colorsys" not in sys.modules
assert rgb_to_hsv(1.0, 0.0, b=0.0) == (0.0, 1.0, 1.0)
assert sys.modules["colorsys"] is not stand_in
import colorsys
assert rgb_to_hsv(1.0, 0.0, b=0.0) == colorsys.rgb_to_hsv(1.0, 0.0, 0.0)
with put_off("colorsys", "rgb_to_hsv"):
    assert sys.modules["colorsys"] is colorsys, "it is there already"
with put_off("quopri", "encode"):
    from quopri import encode, decodestring
    assert decodestring(b"=41") == b"A", "looked up, and so imported"
    assert sys.modules["quopri"].decodestring is decodestring
import quopri
assert quopri.decodestring is decodestring
print("as ever")
"""


def test_a_module_that_is_put_off_is_imported_when_it_is_called_for():
    done = subprocess.run([sys.executable, "-c", PUT_OFF], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("as ever\n", 0), done.stderr


def test_an_import_that_fails_leaves_no_stand_in():
    with pytest.raises(ImportError), put_off("json.tool", "main"):
        importlib.import_module("json.tool.no_such_module")
    assert "json.tool" not in sys.modules
