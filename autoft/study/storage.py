"""Where a study is stored: opening Optuna's storage, and saying in one sentence why it refuses."""

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from autoft.errors import ConfigError, StorageError
from autoft.interrupts import unbroken

_CONNECT_TIMEOUTS = {"psycopg": "connect_timeout", "psycopg2": "connect_timeout", "pymysql": "connect_timeout"}
_SECRETS = ("password", "passwd", "pwd", "secret", "token")
_REMEDIES = {
    "password": "passwords are not kept with a run: give it by PGPASSWORD or ~/.pgpass, or the whole URL by "
    "--set search.storage=URL",
    "locked": "another process writes to it; wait until it is done, or stop it",
    "full": "free some space, then run the same command again",
    "disk i/o": "check the disk and its free space, then run the same command again",
    "readonly": "choose a place that can be written to",
    "read-only": "choose a place that can be written to",
    "unable to open": "check that the folder exists and can be written to",
    "not a database": "give the path of another file, or move this one away",
    "no module named": "install the driver that the URL names",
    "can't load plugin": "install the driver that the URL names, or mend the URL",
    "schema": "use the Optuna version that wrote it, or run `optuna storage upgrade`",
}


class _WalConnection(sqlite3.Connection):
    """A write costs no wait for the disk, and readers do not block the writer.

    A killed process loses nothing; after a power cut the last moments may be missing, and the rest is sound.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        with suppress(sqlite3.OperationalError):  # read-only: the first write says so
            self.execute("PRAGMA journal_mode=WAL").fetchone()
        self.execute("PRAGMA synchronous=NORMAL")


def sqlite_url(path: Path) -> str:
    """The storage URL of a file."""
    return f"sqlite:///{path}".replace("{", "{{").replace("}", "}}")  # Optuna formats the URL


def open_storage(url: str, *, busy_timeout_s: float = 30.0) -> RDBStorage:
    """Open the database that an Optuna storage URL names; what is not there is created.

    Raises:
        ConfigError: not a URL of a database.
        StorageError: the database cannot be opened.
    """
    parsed = _parse(url)
    engine: dict[str, Any] = {"pool_pre_ping": True}
    if parsed.get_backend_name() == "sqlite":
        engine = {"connect_args": {"timeout": busy_timeout_s, "factory": _WalConnection}}
    elif name := _CONNECT_TIMEOUTS.get(parsed.drivername.partition("+")[2]):
        engine["connect_args"] = {name: max(2, int(busy_timeout_s))}
    with translated(url):
        return RDBStorage(url, engine_kwargs=engine)


def shown_url(url: str) -> str:
    """The URL as it may be printed: without passwords."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return "the storage URL"
    hidden = {key: "***" for key in parsed.query if any(secret in key.lower() for secret in _SECRETS)}
    return parsed.update_query_dict(hidden).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def kept_url(url: str) -> str:
    """The URL as it may be written to a file: without passwords, which the driver then asks its own places for."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return url
    secrets = [key for key in parsed.query if any(secret in key.lower() for secret in _SECRETS)]
    if parsed.password is None and not secrets:
        return url
    return parsed._replace(password=None).difference_update_query(secrets).render_as_string(hide_password=False)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn whatever Optuna, SQLAlchemy or the driver raise inside into one sentence about ``url``.

    An interruption waits until the transaction is through.

    Raises:
        StorageError: with the reason and the remedy, and never a password.
    """
    try:
        with unbroken():
            yield
    except (SQLAlchemyError, optuna.exceptions.OptunaError, sqlite3.Error, OSError, ImportError) as error:
        if isinstance(error, StorageError):
            raise
        reason = _reason(error, url)
    except RuntimeError as error:  # an incompatible schema
        reason = _reason(error, url)
    else:
        return
    remedies = (remedy for sign, remedy in _REMEDIES.items() if sign in reason.lower())
    remedy = next(remedies, "check that the database runs and that the URL is right")
    raise StorageError(f"the study at {shown_url(url)}: {reason}; {remedy}") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from logging what a search already says, and from warning of features that it calls experimental."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is None or parsed.drivername.startswith("redis"):
        raise ConfigError(
            f"search.storage: must be the URL of a database, as in sqlite:///study.db or "
            f"postgresql+psycopg://user:password@host/name, got {shown_url(url)!r}"
        )
    return parsed


def _reason(error: BaseException, url: str) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(getattr(error, "orig", None) or error).strip()
    first = text.splitlines()[0].rstrip(".") if text else type(error).__name__
    with suppress(ArgumentError):
        if password := make_url(url).password:
            first = first.replace(str(password), "***")
    return first
