"""What all tests share: no deadlines on two noisy cores, one torch thread, a cache folder of their own."""

import atexit
import os
import shutil
import signal
import tempfile

if "AUTOFT_CACHE_DIR" not in os.environ:  # the test processes of one run share it
    os.environ["AUTOFT_CACHE_DIR"] = tempfile.mkdtemp(prefix="autoft-test-cache-")
    atexit.register(shutil.rmtree, os.environ["AUTOFT_CACHE_DIR"], ignore_errors=True)
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis

hypothesis.settings.register_profile("autoft", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None, max_examples=2000)  # for what no fixed examples show
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "autoft"))

# a shell's background job ignores Ctrl-C, and so would every command that a test starts and interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)
