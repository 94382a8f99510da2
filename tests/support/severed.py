"""A way to a database server that can be told to lose the answer to one COMMIT."""

import socket
import threading
from contextlib import suppress

_BYTES, _COMMIT = 65536, b"COMMIT"


class Severed:
    """Passes everything on in both ways; after `lose_next_answer` a COMMIT arrives, and its answer does not."""

    def __init__(self, port):
        self._behind, self.lost = port, 0
        self._armed = threading.Event()
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self._threads = [threading.Thread(target=self._welcome, daemon=True)]
        self._threads[0].start()

    def lose_next_answer(self):
        self._armed.set()

    def close(self):
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for thread in self._threads:
            thread.join(30)

    def _welcome(self):
        with suppress(OSError):
            while True:
                client = self._door.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._behind))
                severed = threading.Event()
                for arguments in ((client, server, severed, True), (server, client, severed, False)):
                    self._threads.append(threading.Thread(target=self._pass, args=arguments, daemon=True))
                    self._threads[-1].start()

    def _pass(self, source, sink, severed, asking):
        with suppress(OSError):
            while data := source.recv(_BYTES):
                if asking and self._armed.is_set() and _COMMIT in data:
                    self._armed.clear()
                    severed.set()
                if not asking and severed.is_set():
                    self.lost += 1
                    break
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            if not asking:
                each.close()
