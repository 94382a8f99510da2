"""What all tests share: no deadlines on two noisy cores, one torch thread, a cache folder of their own."""

import os
import signal
import tempfile

os.environ.setdefault("AUTOFT_CACHE_DIR", tempfile.mkdtemp(prefix="autoft-test-cache-"))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis

hypothesis.settings.register_profile("autoft", deadline=None, max_examples=50)
hypothesis.settings.load_profile("autoft")

# a shell's background job ignores Ctrl-C, and so would every command that a test starts and interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)
