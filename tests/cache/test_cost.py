import pytest

from autoft.cache.cost import Boundary, Machine, Verdict, choose

FAST_DISK = Machine(bytes_per_s=2e9, item_s=1e-5)
SLOW_DISK = Machine(bytes_per_s=2e6, item_s=1e-5)
REUSE, COMPUTE, TOO_LARGE = Verdict.REUSE, Verdict.COMPUTE, Verdict.TOO_LARGE


def boundary(index=5, *, row_bytes=10_000, row_s=5e-3, passes=5.0, variants=1, built=False):
    return Boundary(index, row_bytes, row_s, passes, variants, built)


@pytest.mark.parametrize(
    ("case", "machine", "max_bytes", "expected"),
    [
        pytest.param(boundary(), FAST_DISK, 10**9, REUSE, id="several epochs of a costly prefix"),
        pytest.param(boundary(passes=1.0), FAST_DISK, 10**9, COMPUTE, id="one pass, as many as building takes"),
        pytest.param(boundary(passes=1.0, built=True), FAST_DISK, 10**9, REUSE, id="one pass of what is there already"),
        pytest.param(boundary(passes=1.5, variants=2), FAST_DISK, 10**9, COMPUTE, id="flips are built twice"),
        pytest.param(boundary(), SLOW_DISK, 10**9, COMPUTE, id="reading takes as long as computing"),
        pytest.param(boundary(row_s=1e-7), FAST_DISK, 10**9, COMPUTE, id="a prefix that costs nothing"),
        pytest.param(boundary(), FAST_DISK, 10**6, TOO_LARGE, id="more bytes than the budget"),
        pytest.param(boundary(passes=0.0), FAST_DISK, 10**9, COMPUTE, id="nobody will ask"),
    ],
)
def test_a_boundary_is_kept_where_that_saves_time_and_fits(case, machine, max_bytes, expected):
    choice = choose([case], machine, items=300, max_bytes=max_bytes)[5]
    assert choice.verdict is expected
    assert choice.nbytes == case.row_bytes * case.variants * 300
    assert ("budget" in choice.reason) == (expected is TOO_LARGE)


def test_what_saves_most_per_byte_comes_first():
    near, far = boundary(2, row_bytes=100_000), boundary(7, row_bytes=10_000)
    choices = choose([near, far], FAST_DISK, items=300, max_bytes=31_000_000)
    assert (choices[2].verdict, choices[7].verdict) == (TOO_LARGE, REUSE)
    choices = choose([near, far], FAST_DISK, items=300, max_bytes=33_000_000)
    assert (choices[2].verdict, choices[7].verdict) == (REUSE, REUSE)


def test_always_keeps_what_fits_whether_it_pays_or_not():
    cheap, large = boundary(1, row_s=0.0), boundary(2, row_bytes=10**7)
    choices = choose([cheap, large], FAST_DISK, items=300, max_bytes=10**8, always=True)
    assert (choices[1].verdict, choices[2].verdict) == (REUSE, TOO_LARGE)


def test_the_reason_tells_the_figures():
    reason = choose([boundary()], FAST_DISK, items=300, max_bytes=10**9)[5].reason
    assert reason.startswith("reading a row takes 5 us, computing it 5.01 ms: 6.0 s saved over 5.0 passes")
