import subprocess
import sys


def test_reserved_standard_output_keeps_out_what_others_write():
    program = (
        "import os, subprocess, sys\nfrom autoft.cli.output import reserved_stdout, say\n"
        "print('before')\n"
        "with reserved_stdout():\n"
        " print('from python'); os.write(1, b'from c\\n'); subprocess.run(['echo', 'from a child'])\n"
        "say('result')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["before", "result"]
    assert sorted(done.stderr.splitlines()) == ["from a child", "from c", "from python"]
