"""A fork is the process that a new Python would have been, with what workers need imported.

Of two kinds: of a server that is a Python of its own, as in this process, which has torch and threads; and of one that
is itself a fork, of a program that has things which its forks must not have.
"""

import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import psutil
import pytest

from autoft.tuner.fork_server import ForkServer

PROGRAM = """
import atexit, gc, os, signal, sys, tempfile
from autoft.tuner.fork_server import ForkServer
atexit.register(print, "the program ends")
signal.signal(signal.SIGTERM, lambda *_: print("told to end"))
held = tempfile.NamedTemporaryFile(suffix=".held")
server = ForkServer()
gc.disable()
server.fork()
assert server.process is None
print(server.python, flush=True)
input()
"""
SCRIPT = """
import gc, json, os, signal, sys
from pathlib import Path
print(json.dumps({
    "arguments": sys.argv[1:],
    "folder": os.getcwd(),
    "mark": os.environ.get("MARK"),
    "name": __name__,
    "torch": "torch" in sys.modules,
    "ray": "ray" in sys.modules,
    "parent": os.getppid(),
    "beside": __import__("beside").IT,
    "said": sys.stdin.read(),
    "held": [file.name for file in Path("/proc/self/fd").iterdir() if str(file.resolve()).endswith(".held")],
    "ends": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
    "collects": gc.isenabled(),
    "threads": sys.modules["torch"].get_num_threads() if "torch" in sys.modules else 1,
}), flush=True)
sys.exit("no more")
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fork servers are for Linux")


@pytest.fixture(scope="module", params=["a Python of its own", "a fork"])
def server(request):
    """The command that asks the server for a fork, and the server's process."""
    if request.param == "a fork":
        program = start_program()
        python = program.stdout.readline().strip()
        yield types.SimpleNamespace(python=python, process=psutil.Process(program.pid).children()[0])
        assert program.communicate("\n", timeout=60)[0] == "the program ends\n"
    else:
        server = ForkServer()
        yield types.SimpleNamespace(python=server.python, process=psutil.Process(server.process.pid))
        server.process.communicate(timeout=60)


def start_program():
    return subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def start(python, script, *arguments, cwd):
    """As Ray does it: by a shell that becomes the command."""
    return subprocess.Popen(
        ["bash", "-c", f"exec {python} {script} {' '.join(arguments)}"],
        cwd=cwd,
        env={**os.environ, "MARK": "given"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def script(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "beside.py").write_text("IT = 7\n")
    path = tmp_path / "scripts" / "script.py"
    path.write_text(SCRIPT)
    return path


def test_a_fork_is_what_a_new_python_would_be_and_has_imported_torch(server, script, tmp_path):
    out, err = start(server.python, script, "a", "b", cwd=tmp_path).communicate("hello", timeout=120)
    plain, plain_err = start(sys.executable, script, "a", "b", cwd=tmp_path).communicate("hello", timeout=120)
    found, expected = json.loads(out), json.loads(plain)
    assert found.pop("torch")
    assert not expected.pop("torch")
    assert found.pop("parent") == server.process.pid
    expected.pop("parent")
    assert (
        found
        == expected
        == {
            "arguments": ["a", "b"],
            "folder": str(tmp_path),
            "mark": "given",
            "name": "__main__",
            "ray": False,
            "beside": 7,
            "said": "hello",
            "held": [],
            "ends": True,
            "collects": True,
            "threads": 1,
        }
    )
    assert err == plain_err == "no more\n"


def test_a_client_ends_with_its_fork_and_a_killed_fork_takes_nobody_along(server, tmp_path):
    (tmp_path / "wait.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    first, second = (start(server.python, tmp_path / "wait.py", cwd=tmp_path) for _ in range(2))
    os.kill(int(first.stdout.readline()), signal.SIGKILL)
    first.communicate(timeout=60)
    fork = psutil.Process(int(second.stdout.readline()))
    assert second.poll() is None
    fork.kill()
    second.communicate(timeout=60)


@pytest.mark.parametrize(
    "meanwhile",
    [
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "sys.modules['ray'] = sys.modules['sys']",
    ],
    ids=["a thread", "Ray"],
)
def test_what_would_make_a_fork_unlike_a_new_python_makes_the_server_one(meanwhile):
    program = f"""
import sys
from autoft.tuner.fork_server import ForkServer
server = ForkServer()
assert server.process is None
{meanwhile}
server.fork()
print(server.process.args[1:4])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['-P', '-m', 'autoft.tuner.fork_server']\n"


def test_where_no_server_is_a_worker_starts_all_the_same(script, tmp_path):
    lost = ForkServer()
    lost.process.kill()
    lost.process.communicate(timeout=60)
    out, err = start(lost.python, script, "a", cwd=tmp_path).communicate("hello", timeout=60)
    assert json.loads(out)["arguments"] == ["a"]
    assert err == "no more\n"


def test_a_server_ends_with_the_process_that_started_it_and_its_forks_go_on(tmp_path):
    (tmp_path / "wait.py").write_text("import os\nprint(os.getpid(), flush=True)\nprint(input())\n")
    parent = start_program()
    python = parent.stdout.readline().strip()
    client = start(python, tmp_path / "wait.py", cwd=tmp_path)
    fork = psutil.Process(int(client.stdout.readline()))
    server = fork.parent()
    parent.kill()
    parent.communicate(timeout=60)
    assert server.wait(timeout=60) is None or not server.is_running()
    assert not Path(python.split()[-1]).parent.exists()
    assert client.communicate("still here\n", timeout=60)[0] == "still here\n"
    assert not fork.is_running() or fork.wait(timeout=60) is None


def test_who_ends_the_process_group_of_a_worker_ends_neither_the_server_nor_other_workers(server, tmp_path):
    script = tmp_path / "waits.py"
    script.write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(300)\n")
    workers = [start(server.python, script, cwd=tmp_path) for _ in range(2)]
    one, other = (psutil.Process(int(worker.stdout.readline())) for worker in workers)
    os.killpg(os.getpgid(one.pid), signal.SIGKILL)  # as Ray's raylet does when a worker has ended
    workers[0].communicate(timeout=60)
    one.wait(timeout=60)
    assert other.is_running()
    assert server.process.is_running()
    other.kill()
    workers[1].communicate(timeout=60)
