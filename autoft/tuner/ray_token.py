"""The token of Ray clusters: where Ray looks for it, and that nobody else can read it."""

import os
import secrets
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from autoft.errors import ConfigError
from autoft.files import translated

TOKEN, TOKEN_PATH, MODE = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def token_file() -> Path:
    """Where Ray keeps the token of this user."""
    return Path.home() / ".ray" / "auth_token"


def find_token(environment: Mapping[str, str] = os.environ) -> str | None:
    """The token, from where Ray takes it: RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token.

    Raises:
        ConfigError: a file that is not there, is empty, or can be read by others. The token is never told.
        StorageError: a file that cannot be read.
    """
    if token := environment.get(TOKEN, "").strip():
        return _one_word(token, TOKEN)
    named = environment.get(TOKEN_PATH)
    file = Path(named) if named else token_file()
    if not file.is_file():
        if named:
            raise ConfigError(f"{TOKEN_PATH}: must name a file, got {named!r}; write the cluster's token there")
        return None
    with translated(file):
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & _OTHERS:
            raise ConfigError(
                f"{file}: must be readable by its owner alone, got mode {mode:04o}; whoever reads it can run code on "
                f"the cluster: chmod 600 {file}"
            )
        return _one_word(file.read_text(encoding="utf-8", errors="replace").strip(), str(file))


def provide_token(environment: Mapping[str, str] = os.environ) -> None:
    """See to it, before a Ray is started here, that the token's file is there and its owner's alone.

    Ray makes it too, but lets everyone read it. Where the environment names another place or mode nothing is done, and
    where the home folder cannot be written to Ray says so.
    """
    if environment.get(TOKEN) or environment.get(TOKEN_PATH) or environment.get(MODE, "token").lower() != "token":
        return
    file = token_file()
    with suppress(OSError):
        if not file.exists():
            _make(file)
        elif file.stat().st_mode & _OTHERS:
            file.chmod(stat.S_IRUSR | stat.S_IWUSR)


def _make(file: Path) -> None:
    """Write the file as a whole, so that of two processes one wins and neither reads half a token."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".auth_token.", dir=file.parent)  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as written:
            written.write(secrets.token_hex(32))
        with suppress(FileExistsError):
            os.link(name, file)
    finally:
        Path(name).unlink(missing_ok=True)


def _one_word(token: str, where: str) -> str:
    if not token.isascii() or not token.isprintable() or len(token.split()) != 1:
        raise ConfigError(f"{where}: must hold one token and nothing else; write the cluster's token there again")
    return token
