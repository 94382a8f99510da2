"""Asks every node of a Ray cluster to run one command; never waits without end.

It is a program of its own, so that whoever asks can end it whatever Ray does:
python -m autoft.tuner.ray_nodes FILE ADDRESS SECONDS ARGUMENT... runs ``python ARGUMENT...`` on each node, and writes a
JSON list of one object per node: ``node``, ``output``, ``trouble``.
"""

import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_SLOWEST_START_S = 60.0
"""Within which a node must have started a process for the question, beside the time for the answer."""


def ask_nodes(arguments: Sequence[str], seconds: float) -> list[dict[str, str]]:
    """What each node of the cluster that this process has joined answers.

    Args:
        arguments: of the Python there.
        seconds: how long the command may take on a node.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    asked = {_ask_one(node["NodeID"], arguments, seconds): _name(node) for node in nodes}
    end = time.monotonic() + seconds + _SLOWEST_START_S
    return [_answer(name, reference, end) for reference, name in asked.items()]


def _name(node: dict[str, Any]) -> str:
    host, address = node["NodeManagerHostname"], node["NodeManagerAddress"]
    return f"{host} ({address}, {node['NodeID'][:8]})"


def _ask_one(node_id: str, arguments: Sequence[str], seconds: float) -> Any:
    def run(arguments: list[str], seconds: float) -> tuple[str, str]:
        """Nested, and so sent by value: a node without autoft can run it and say so."""
        import os  # noqa: PLC0415
        import subprocess  # noqa: PLC0415
        import sys  # noqa: PLC0415

        command = [sys.executable, *arguments]
        environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        try:
            done = subprocess.run(  # noqa: S603 - arguments, not a shell
                command,
                env=environment,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return "", f"no answer within {seconds:.0f} s"
        return done.stdout, done.stderr

    here = NodeAffinitySchedulingStrategy(node_id, soft=False)
    task = ray.remote(run).options(num_cpus=0, max_retries=0, scheduling_strategy=here)
    return task.remote(list(arguments), seconds)


def _answer(name: str, reference: Any, end: float) -> dict[str, str]:
    try:
        output, trouble = ray.get(reference, timeout=max(0.0, end - time.monotonic()))
    except ray.exceptions.GetTimeoutError:
        output, trouble = "", "no answer in time"
    except ray.exceptions.RayError as error:
        output, trouble = "", str(error)
    return {"node": name, "output": output, "trouble": trouble}


def main(file: str, address: str, seconds: str, *arguments: str) -> None:
    """The program; a file beside the answers tells when the cluster has let it in."""
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    Path(file).with_suffix(".joined").touch()
    Path(file).write_text(json.dumps(ask_nodes(arguments, float(seconds))), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
