"""A finding, and the report of one machine."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one subject. What is not ok has a remedy."""

    level: Level
    subject: str
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found on one machine."""

    node: str
    findings: tuple[Finding, ...]
    versions: Mapping[str, str | None] = field(default_factory=dict)
    """Of Python and the packages; None for a missing one."""

    @property
    def level(self) -> Level:
        """That of the worst finding."""
        order = list(Level)
        return max((finding.level for finding in self.findings), key=order.index, default=Level.OK)

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "node": self.node,
            "versions": dict(self.versions),
            "findings": [asdict(each) for each in self.findings],
        }


def ok(subject: str, text: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, subject, text)


def warning(subject: str, text: str, remedy: str) -> Finding:
    """A search works, but slower or less safely than it could."""
    return Finding(Level.WARNING, subject, text, remedy)


def error(subject: str, text: str, remedy: str) -> Finding:
    """A search will fail, or others can do harm."""
    return Finding(Level.ERROR, subject, text, remedy)
