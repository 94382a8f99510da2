import subprocess
import sys

import pytest

PROGRAM = """
import numpy, psutil
from autoft.heap import give_back, keep_freed

def resident():
    return psutil.Process().memory_info().rss >> 20

def grown():
    blocks = [numpy.ones(2**20 * 5) for _ in range(5)]

keep_freed()
before = resident()
grown()
kept = resident()
give_back()
print(kept - before, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library's")
def test_what_is_freed_is_kept_until_it_is_given_back():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    kept, left = map(int, done.stdout.split())
    assert kept > 150
    assert left < 50
