"""Stands for python in a chain that docs.chains.parts.demo runs: waits for its turn, runs the step, says how it ended.

    PYTHON="a script that starts this file" bash docs/chains/NAME.sh

CHAIN, CHAIN_SOCKET and CHAIN_PYTHON say which chain it is of, who gives the turns, and what runs the step.
"""

import json
import os
import resource
import signal
import socket
import subprocess
import sys


def main(words):
    """Run python on the words when it is this step's turn and return its exit status."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(os.environ["CHAIN_SOCKET"])
        line.sendall(json.dumps([os.environ["CHAIN"], words]).encode() + b"\n")
        if not line.recv(1):  # nobody gives turns any more
            return 130
        signal.signal(signal.SIGTERM, lambda *_: None)  # sent to the step as well, which saves its state first
        status = subprocess.call([os.environ["CHAIN_PYTHON"], *words])
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        line.sendall(json.dumps([status, used.ru_utime + used.ru_stime]).encode() + b"\n")
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
