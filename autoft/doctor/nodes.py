"""The nodes of a cluster: what each of them answered, and whether they fit together."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoft.doctor.finding import Finding, Level, Report, error, ok, warning

_MUST_AGREE = ("python", "ray", "autoft")
"""What is sent from one node to another is read by the same version, or not at all."""


def report_of(node: str, output: str, trouble: str) -> Report:
    """The report of a node from what ``autoft doctor --json`` printed there, or why there is none."""
    try:
        return replace(reports_in(output.splitlines()[-1])[0], node=node)
    except (LookupError, ValueError, TypeError):
        return Report(node, (_silence(trouble or output),))


def reports_in(line: str) -> list[Report]:
    """The reports that ``autoft doctor --json`` printed.

    Raises:
        LookupError, ValueError, TypeError: it is no such line.
    """
    return [_report(told) for told in json.loads(line)["nodes"]]


def _report(told: Mapping[str, Any]) -> Report:
    findings = [Finding(**{**each, "level": Level(each["level"])}) for each in told["findings"]]
    return Report(told["node"], tuple(findings), dict(told["versions"]))


def _silence(trouble: str) -> Finding:
    last = next((line.strip() for line in reversed(trouble.splitlines()) if line.strip()), "no answer")
    if "No module named autoft" in trouble:
        return error(
            "versions",
            "there is no autoft in the Python of this node",
            "pip install autoft there, or one image for all",
        )
    if "No such command" in trouble:
        return error(
            "versions", "autoft of this node is older and has no doctor", "install the same version on all nodes"
        )
    return error("node", f"it does not tell: {last}", "look at the node, or take it out of the cluster")


def agreement(reports: Sequence[Report]) -> tuple[Finding, ...]:
    """Whether the nodes have the same versions."""
    told = [report for report in reports if report.versions]
    found = []
    for name in dict.fromkeys(name for report in told for name in report.versions):
        held: dict[str, list[str]] = {}
        for report in told:
            held.setdefault(str(report.versions.get(name)), []).append(report.node)
        if len(held) > 1:
            text = f"{name} differs: " + "; ".join(
                f"{version} on {', '.join(nodes)}" for version, nodes in held.items()
            )
            judged = error if name in _MUST_AGREE else warning
            found.append(judged("versions", text, "one image, or one lock file, for all nodes"))
    return tuple(found) or (ok("versions", f"the same on {len(told)} nodes"),)
