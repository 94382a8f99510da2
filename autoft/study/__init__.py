"""The study: what was tried and what came of it, in an Optuna database or in memory."""

from autoft.study.earlier import EarlierStudy, read_study
from autoft.study.ledger import Ledger
from autoft.study.memory import MemoryLedger
from autoft.study.optuna_ledger import OptunaLedger
from autoft.study.storage import check_reachable, copy_sqlite, kept_url, quiet, shown_url, sqlite_url, study_names

__all__ = [
    "EarlierStudy",
    "Ledger",
    "MemoryLedger",
    "OptunaLedger",
    "check_reachable",
    "copy_sqlite",
    "kept_url",
    "quiet",
    "read_study",
    "shown_url",
    "sqlite_url",
    "study_names",
]
