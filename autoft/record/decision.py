"""Decisions: what a rule or the policy says to a trial, always with its rule and a sentence."""

from dataclasses import dataclass
from enum import IntEnum


class Action(IntEnum):
    """What becomes of a trial; the greater one wins where several rules speak."""

    CONTINUE = 0
    PAUSE = 1
    STOP = 2


@dataclass(frozen=True, slots=True)
class Decision:
    """An action, the name of the rule that asked for it, and the reason in one sentence."""

    action: Action = Action.CONTINUE
    rule: str = ""
    text: str = ""


CONTINUE = Decision()


def stop(rule: str, text: str) -> Decision:
    """Stop the trial."""
    return Decision(Action.STOP, rule, text)


def pause(rule: str, text: str) -> Decision:
    """Pause the trial; it may be thawed later."""
    return Decision(Action.PAUSE, rule, text)
