"""Where a study is stored: opening Optuna's storage, and saying in one sentence why it refuses."""

import json
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialModel, TrialSystemAttributeModel
from optuna.trial import FrozenTrial
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from autoft.errors import ConfigError, StorageError
from autoft.files import network_mount
from autoft.interrupts import unbroken

_CONNECT_S = 15
"""How long a server may take to answer when a connection is opened."""
_LOST_S = 30
"""After how long without an answer an open connection to a server counts as lost."""
_LIBPQ = {
    "connect_timeout": _CONNECT_S,
    "tcp_user_timeout": 1000 * _LOST_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
}
_OF_DRIVERS: dict[str, dict[str, Any]] = {
    "psycopg": _LIBPQ,
    "psycopg2": _LIBPQ,
    "pymysql": {"connect_timeout": _CONNECT_S, "read_timeout": _LOST_S, "write_timeout": _LOST_S},
}
_CREATION = "autoft:creation"
_MAKING_TABLES = 0x6175746F6674
"""PostgreSQL's lock for whoever makes Optuna's tables: ``autoft`` in ASCII."""
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
    "not a database": "give the path of another file, or put a copy of this one in its place",
    "malformed": "the file was damaged: put a copy of it in its place, or start anew under another --name",
    "no module named": "install the driver that the URL names; for PostgreSQL pip install 'autoft[postgres]' and "
    "postgresql+psycopg://...",
    "can't load plugin": "install the driver that the URL names, or mend the URL; for PostgreSQL pip install "
    "'autoft[postgres]' and postgresql+psycopg://...",
    "connection refused": "check that the database runs at this host and port",
    "name or service not known": "check the host name in the URL",
    "timeout": "check that the database runs and can be reached from here",
    "timed out": "check that the database runs and can be reached from here",
    "does not exist": "create it, or mend the URL",
    "schema": "use the Optuna version that wrote it, or run `optuna storage upgrade`",
}


class ServerAwayError(StorageError):
    """The database's server does not answer; it may come back."""


class _SqliteConnection(sqlite3.Connection):
    """A write costs no wait for the disk, and readers do not block the writer.

    A killed process loses nothing; after a power cut the last moments may be missing, and the rest is sound. On a
    network file system a write-ahead log is not safe (it needs memory that all readers share), so there the
    rollback journal is used, and every write waits for the disk.
    """

    def __init__(self, database: Any, *args: Any, **settings: Any) -> None:
        super().__init__(database, *args, **settings)
        remote = network_mount(Path(str(database)))
        with suppress(sqlite3.OperationalError):  # read-only: the first write says so
            self.execute(f"PRAGMA journal_mode={'DELETE' if remote else 'WAL'}").fetchone()
        self.execute(f"PRAGMA synchronous={'FULL' if remote else 'NORMAL'}")


class _OnceStorage(RDBStorage):
    """Writes a trial once, although the answer to a COMMIT may be lost: Optuna then tries again by itself."""

    _tried = ""

    def _get_prepared_new_trial(self, study_id: int, template_trial: FrozenTrial | None, session: Any) -> Any:
        """The row of a trial, in a transaction that alone may add one to the study.

        Only a second attempt looks for what the first one left: the study's newest row.
        """
        key = template_trial.system_attrs.get(_CREATION, "") if template_trial else ""
        again, self._tried = bool(key) and key == self._tried, key
        row = self._newest(study_id, session) if again else None
        if row is not None and key in self._creations(row, session):
            return row
        return super()._get_prepared_new_trial(study_id, template_trial, session)

    @staticmethod
    def _newest(study_id: int, session: Any) -> Any:
        rows = session.query(TrialModel).filter(TrialModel.study_id == study_id)
        return rows.order_by(TrialModel.trial_id.desc()).first()

    @staticmethod
    def _creations(row: Any, session: Any) -> list[str]:
        attributes = TrialSystemAttributeModel.where_trial_id(row.trial_id, session)
        return [json.loads(str(each.value_json)) for each in attributes if each.key == _CREATION]


def creation() -> dict[str, str]:
    """The system attribute by which a trial's row is known again; another one for each trial."""
    return {_CREATION: token_hex(8)}


def sqlite_url(path: Path) -> str:
    """The storage URL of a file."""
    url = URL.create("sqlite", database=str(path)).render_as_string()
    return url.replace("{", "{{").replace("}", "}}")  # Optuna formats the URL


def copy_sqlite(database: Path, to: Path) -> None:
    """Copy a database that others write to, as it is between two of their transactions; the copy is one file.

    Raises:
        StorageError: it cannot be read, or the copy not be written.
    """
    with translated(sqlite_url(database)):
        source = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=30.0)
        with closing(source), closing(sqlite3.connect(to)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")


def study_names(database: Path) -> tuple[str, ...]:
    """The studies in a file, the oldest first; none where the file or its tables are not there.

    Raises:
        StorageError: it cannot be read.
    """
    with translated(sqlite_url(database)):
        if not database.is_file():
            return ()
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=30.0)) as connection:
            if not connection.execute("SELECT name FROM sqlite_master WHERE name = 'studies'").fetchall():
                return ()
            return tuple(name for (name,) in connection.execute("SELECT study_name FROM studies ORDER BY study_id"))


def open_storage(url: str, *, busy_timeout_s: float = 30.0) -> RDBStorage:
    """Open the database that an Optuna storage URL names; what is not there is created.

    Raises:
        ConfigError: not a URL of a database.
        ServerAwayError: its server does not answer.
        StorageError: the database cannot be opened.
    """
    parsed = _parse(url)
    settings = _engine_settings(parsed, busy_timeout_s)
    with translated(url), _alone(parsed, settings):
        return _OnceStorage(url, engine_kwargs=settings)


def check_reachable(url: str) -> None:
    """Connect to a database server once, so that a wrong URL is told before anything is done; files are not opened.

    Raises:
        ConfigError: not a URL of a database.
        ServerAwayError: its server does not answer.
        StorageError: the driver is missing, or the server refuses.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return
    with translated(url):
        create_engine(parsed, poolclass=NullPool, **_engine_settings(parsed)).connect().close()


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
        reason, kind = _reason(error, url), ServerAwayError if _is_away(error, url) else StorageError
    except RuntimeError as error:  # an incompatible schema
        reason, kind = _reason(error, url), StorageError
    else:
        return
    remedies = (remedy for sign, remedy in _REMEDIES.items() if sign in reason.lower())
    remedy = next(remedies, "check that the database runs and that the URL is right")
    raise kind(f"the study at {shown_url(url)}: {reason}; {remedy}") from None


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
        url.format(SCHEMA_VERSION=0)  # as Optuna does
    except (ArgumentError, LookupError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername.startswith("redis"):
        raise ConfigError(
            f"search.storage: must be the URL of a database, as in sqlite:///study.db or "
            f"postgresql+psycopg://user@host/name (braces are doubled), got {shown_url(url)!r}"
        )
    return parsed


def _engine_settings(parsed: URL, busy_timeout_s: float = 30.0) -> dict[str, Any]:
    """What SQLAlchemy's engine is to be made with: nothing waits without end for a server."""
    backend, _, driver = parsed.drivername.partition("+")
    if backend == "sqlite":
        return {"connect_args": {"timeout": busy_timeout_s, "factory": _SqliteConnection}}
    bounded = _OF_DRIVERS.get(driver or ("psycopg2" if backend == "postgresql" else ""), {})
    own = {name: value for name, value in bounded.items() if name not in parsed.query}
    return {"pool_pre_ping": True, "connect_args": own}


@contextmanager
def _alone(parsed: URL, settings: dict[str, Any]) -> Iterator[None]:
    """Let one process at a time make the tables of a PostgreSQL database: two that begin at once would collide."""
    if parsed.get_backend_name() != "postgresql":
        yield
        return
    with create_engine(parsed, poolclass=NullPool, **settings).connect() as connection, connection.begin():
        connection.execute(text(f"SET LOCAL lock_timeout = {1000 * _LOST_S}"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MAKING_TABLES})"))
        yield


def _is_away(error: BaseException, url: str) -> bool:
    """Whether a server, not the request, is the cause: it refuses, is starting or stopping, or the line is cut."""
    if url.startswith("sqlite"):
        return False
    known: BaseException | None = error
    while known is not None and not isinstance(known, DBAPIError):
        known = known.__cause__
    return isinstance(known, DBAPIError) and (
        known.connection_invalidated or isinstance(known, OperationalError | InterfaceError)
    )


def _reason(error: BaseException, url: str) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    told = str(getattr(error, "orig", None) or error).strip()
    first = told.splitlines()[0].rstrip(".") if told else type(error).__name__
    with suppress(ArgumentError):
        if password := make_url(url).password:
            first = first.replace(str(password), "***")
    return first
