"""Turns of the steps of several chains, over a Unix socket: as many run at a time as there are cores."""

import json
import selectors
import socket
from dataclasses import dataclass


@dataclass
class Step:
    """One step of a chain: what asked for it, its words, whether it runs, and what it has said so far."""

    chain: str
    words: list
    line: socket.socket
    number: int


class Turns:
    """Gives turns to the steps that ask for one at a socket.

    watch: is told `began(step)` and `done(step, status, processor seconds)`, has `cores`, and `work_left(chain)`, by
    which the next step is chosen.
    """

    def __init__(self, path, watch):
        self.watch, self.waiting, self.running, self._count = watch, [], [], 0
        self._texts = {}  # {connection: (its Step or None, what it has sent)}
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(path))
        self._door.listen(64)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._door, selectors.EVENT_READ)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for line in [*self._texts, self._door]:
            line.close()
        self._selector.close()

    def serve(self, seconds, give=True):
        """Take what the steps say for so long at most, then give the turns that are free."""
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._door:
                line, _ = self._door.accept()
                self._texts[line] = (None, b"")
                self._selector.register(line, selectors.EVENT_READ)
            else:
                self._hear(key.fileobj)
        while give and self.waiting and len(self.running) < self.watch.cores:
            step = max(self.waiting, key=lambda step: (self._urgency(step.chain), -step.number))
            self.waiting.remove(step)
            self.running.append(step)
            self.watch.began(step)
            step.line.sendall(b"g")

    def _urgency(self, chain):
        """Return the work that a chain has left by its branches, of which each has one step that runs or waits."""
        return self.watch.work_left(chain) / sum(step.chain == chain for step in [*self.running, *self.waiting])

    def _hear(self, line):
        """Take what a step says: which one it is, then how it ended; its end where it says no more."""
        step, text = self._texts[line]
        said = line.recv(65536)
        text += said
        if step is None and text.endswith(b"\n"):
            self._count += 1
            step, text = Step(*json.loads(text), line, self._count), b""
            self.waiting.append(step)
        if said:
            self._texts[line] = (step, text)
            return
        self._selector.unregister(line)
        del self._texts[line]
        line.close()
        if step in self.waiting:
            self.waiting.remove(step)
        elif step in self.running:
            self.running.remove(step)
            self.watch.done(step, *(json.loads(text) if text else (-1, 0.0)))
