"""Timing two callables fairly: warm-up, alternating rounds, medians."""

import ctypes
import gc
import statistics
import time
from pathlib import Path

from tests.golden.compare import within

LEAST_ROUND = 0.02  # seconds; shorter calls are repeated within a round
ENOUGH = 120.0  # seconds after which no further round begins, once each side has three


def same_result(ours, peer):
    """True when two results (arrays, tensors, numbers, or nested lists and dictionaries of them) agree to 1e-3."""
    if isinstance(peer, dict):
        return ours.keys() == peer.keys() and all(same_result(ours[name], peer[name]) for name in peer)
    if isinstance(peer, (list, tuple)):
        return len(ours) == len(peer) and all(same_result(a, b) for a, b in zip(ours, peer))
    return within(ours, peer, rtol=1e-3, atol_rel_to_max=1e-3) <= 1


def measure(bench):
    """Run one benchmark and return its row: name, ours, peer, ratio, unit, same, at_least, what the peer is.

    ours, peer: median seconds of a call, or median rates where the unit is one.  ratio: the peer's seconds over ours.
    memory, where asked for: [ours, peer], MB (see extra_memory).
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(bench.threads)
    try:
        ours, peer, *judge = bench.function()
        same = bool((judge[0] if judge else same_result)(ours(), peer()))  # also the first warm-up
        our_seconds, peer_seconds = _alternate(ours, peer, bench.rounds)
        memory = {"memory": [extra_memory(ours), extra_memory(peer)]} if bench.memory else {}
    finally:
        torch.set_num_threads(before)
    peer_seconds /= bench.peer_share
    shown = [value if bench.unit == "s" else bench.items / value for value in (our_seconds, peer_seconds)]
    return {"name": bench.name, "ours": shown[0], "peer": shown[1], "ratio": peer_seconds / our_seconds,
            "unit": bench.unit, "same": same, "at_least": bench.at_least, "against": bench.peer, **memory}


def extra_memory(function):
    """Return by how many MB a call raises the process's resident memory at most; None where the system cannot tell."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # memory that was freed is given back, so that taking it again counts
        before = _resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
        result = function()
        peak = _resident("VmHWM")
    except (OSError, AttributeError, StopIteration):
        return None
    del result
    return max(0.0, peak - before)


def _resident(name):
    """Return an entry of the process's status in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024 / 1e6


def _alternate(ours, peer, rounds):
    """Return the median seconds of a call of each, timed in turn, the order swapped each round."""
    sides = [(ours, _repeats(ours), []), (peer, _repeats(peer), [])]
    began = time.perf_counter()
    for index in range(rounds):
        if index >= 3 and time.perf_counter() - began > ENOUGH:
            break
        for function, repeats, seconds in sides if index % 2 == 0 else reversed(sides):
            seconds.append(_time(function, repeats))
    return [statistics.median(seconds) for _, _, seconds in sides]


def _repeats(function):
    return max(1, int(LEAST_ROUND / max(_time(function, 1), 1e-9)))


def _time(function, repeats):
    """Return the seconds of one call, averaged over some."""
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - start) / repeats
