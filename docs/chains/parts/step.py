"""Stands for python in a chain that docs.chains.parts.demo runs: waits for its turn, runs the step, says how it ended.

    PYTHON="a script that starts this file" bash docs/chains/NAME.sh

CHAIN, CHAIN_SOCKET and CHAIN_PYTHON say which chain it is of, who gives the turns, and what runs the step: a module
runs in a fork of CHAIN_PREPARED (docs.chains.parts.prepared) where there is one.
"""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from contextlib import suppress


def main(words):
    """Run python on the words when it is this step's turn and return its exit status."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(os.environ["CHAIN_SOCKET"])
        line.sendall(json.dumps([os.environ["CHAIN"], words]).encode() + b"\n")
        if not line.recv(1):  # nobody gives turns any more
            return 130
        signal.signal(signal.SIGTERM, lambda *_: None)  # sent to the step as well, which saves its state first
        status, seconds = (forked if "CHAIN_PREPARED" in os.environ and words[:1] == ["-m"] else started)(words)
        line.sendall(json.dumps([status, seconds]).encode() + b"\n")
    return status if status >= 0 else 128 - status


def started(words):
    """Return the exit status of python on the words, and the processor seconds it took."""
    status = subprocess.call([os.environ["CHAIN_PYTHON"], *words])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return status, used.ru_utime + used.ru_stime


def forked(words):
    """Return the same of a fork of the Python that is prepared."""
    with socket.socket(socket.AF_UNIX) as line:
        early, answers = [], line.makefile("rb")
        signal.signal(signal.SIGTERM, lambda number, _: early.append(number))
        try:
            line.connect(os.environ["CHAIN_PREPARED"])
            socket.send_fds(line, [b"s"], [0, 1, 2])
            line.sendall(json.dumps([words, os.getcwd(), dict(os.environ)]).encode() + b"\n")
            pid = answers.readline()
        except OSError:
            pid = b""
        if not pid:  # it has died
            return started(words)

        def hand_on(number, _=None):
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(int(pid), number)

        signal.signal(signal.SIGTERM, hand_on)
        for number in early:
            hand_on(number)
        return json.loads(answers.readline() or "[-9, 0.0]")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
