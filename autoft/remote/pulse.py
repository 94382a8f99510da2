"""The background thread that keeps a mirror current while a search runs."""

import shlex
import threading
import time
from collections.abc import Callable

from autoft.errors import RunError, StorageError
from autoft.remote.mirror import Mirror


class Pulse:
    """Pushes what is new now and then, and all of it at the end. A store that is away does not stop the search.

    Args:
        mirror: claimed.
        pause_s: between two looks; after a push that took longer, as long as that.
        patience_s: how long a store may be away before that is told, and how long the end waits for it.
    """

    def __init__(self, mirror: Mirror, *, pause_s: float = 3.0, patience_s: float = 90.0) -> None:
        self._mirror, self._pause_s, self._patience_s = mirror, pause_s, patience_s
        self._ended = threading.Event()
        self._lost: RunError | None = None
        self._away_since: float | None = None
        self._told = False
        self._news: list[str] = []
        self._thread = threading.Thread(target=self._beat, name="autoft-mirror", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def check(self, note: Callable[[str], None]) -> None:
        """Tell what is new, from the thread that asks.

        Raises:
            RunError: another machine goes on with the run.
        """
        if self._lost:
            raise self._lost
        while self._news:
            note(self._news.pop(0))

    def stop(self, *, patience_s: float | None = None) -> str | None:
        """Send the rest; the sentence to tell where that could not be done.

        Raises:
            RunError: another machine goes on with the run.
        """
        self._ended.set()
        self._thread.join()
        self._patience_s = self._patience_s if patience_s is None else patience_s
        begun = self._away_since or time.monotonic()
        while True:
            try:
                self._push()
                self._mirror.leave()
            except StorageError as error:
                if time.monotonic() - begun >= self._patience_s:
                    mirror = self._mirror
                    return (
                        f"{error}; what is there is behind: all of the run is in {mirror.local}; once the store is "
                        f"back, autoft resume {shlex.quote(mirror.store.place)} on this machine sends it"
                    )
                time.sleep(min(1.0, self._pause_s))
            else:
                return None

    def _beat(self) -> None:
        wait_s = 0.0
        while not self._ended.wait(wait_s):
            begun = time.monotonic()
            try:
                self._push()
                self._back()
            except RunError as error:
                self._lost = error
                return
            except StorageError as error:
                self._away(error)
            wait_s = max(self._pause_s, time.monotonic() - begun)

    def _push(self) -> None:
        if self._lost:
            raise self._lost
        if self._mirror.is_behind():
            self._mirror.push()

    def _away(self, error: StorageError) -> None:
        self._away_since = self._away_since or time.monotonic()
        if not self._told and time.monotonic() - self._away_since >= self._patience_s:
            self._told = True
            self._news.append(
                f"{error}: the search goes on in {self._mirror.local}, and is sent when the store is back"
            )

    def _back(self) -> None:
        self._away_since = None
        if self._told:
            self._told = False
            self._news.append(f"{self._mirror.store.place}: is back, and has all of the run again")
