"""The GPUs of this machine: as the driver sees them, and as torch does."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from autoft.doctor.facts import Cuda, Gpu

_QUERY = "name,driver_version,memory.total,memory.free"
_MIB = 2**20
_DRIVER_S, _TORCH_S = 15, 90
_HIDDEN = ("CUDA_VISIBLE_DEVICES",)
"""Ray hides all GPUs from a task that asks for none."""
_ASK_TORCH = """
import json, torch
trouble = ""
try:
    torch.cuda.init()
except Exception as error:
    trouble = str(error).splitlines()[0]
print(json.dumps({"version": torch.version.cuda, "devices": torch.cuda.device_count(), "trouble": trouble}))
"""


def gpus_here() -> tuple[Gpu, ...]:
    """What nvidia-smi tells; nothing where it is not installed, refuses or does not answer."""
    told = _answer(["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"], _DRIVER_S)
    return tuple(gpu for line in told.splitlines() if (gpu := gpu_of(line)))


def gpu_of(line: str) -> Gpu | None:
    """One line of nvidia-smi; None if it is of another form."""
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != _QUERY.count(",") + 1 or not (fields[2].isdigit() and fields[3].isdigit()):
        return None
    return Gpu(fields[0], fields[1], int(fields[2]) * _MIB, int(fields[3]) * _MIB)


def cuda_here() -> Cuda:
    """What torch tells, asked in a process of its own: a broken driver may crash it or never answer."""
    environment = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
    told = _answer([sys.executable, "-c", _ASK_TORCH], _TORCH_S, environment).splitlines()
    try:
        return Cuda(**json.loads(told[-1]))
    except (LookupError, ValueError, TypeError):
        return Cuda("unknown", 0, "torch did not answer")


def _answer(command: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
