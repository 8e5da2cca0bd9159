"""The benchmarks: our code beside a named peer that does the same job.

    @bench("nn.fir_up2", peer="zero insertion and full convolution", threads=1, at_least=5)
    def fir_up2():
        x = torch.randn(8, 128, 16, 16)                    # set-up, outside the clock
        return lambda: up2(x), lambda: plain_up2(x)        # ours, peer

The function sets up and returns (ours, peer) or (ours, peer, same): two callables without arguments that are timed,
and `same(our_result, peer_result) -> bool`; without it, results must agree within 1e-3 of the largest peer value.
Heavy imports stand inside the functions: importing these modules costs nothing.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Callable, Optional

_benches = {}


@dataclass
class Bench:
    """One registered benchmark. unit "s" shows seconds; any other unit is a rate of `items` per call, such as
    images/s. memory: whether each side's peak beyond what stood before is shown too. peer_share: the part of the job
    that the peer does, whose time is extrapolated to the whole."""

    name: str
    function: Callable
    peer: str
    unit: str = "s"
    items: int = 1
    threads: int = 1
    rounds: int = 7
    at_least: Optional[float] = None
    memory: bool = False
    peer_share: float = 1.0


def bench(name, *, peer="", unit="s", items=1, threads=1, rounds=7, at_least=None, memory=False, peer_share=1.0):
    """Register the decorated function.

    peer: what stands against us, in a few words.  threads: torch's threads meanwhile.  rounds: timed calls of each.
    at_least: the ratio that is promised.  memory, peer_share: see Bench.
    """

    def register(function):
        assert name not in _benches, f"two benchmarks are called {name}"
        text = peer or (function.__doc__ or "").strip().split("\n")[0]
        _benches[name] = Bench(name, function, text, unit, items, threads, rounds, at_least, memory, peer_share)
        return function

    return register


def find_benches(prefixes=()):
    """Return the benchmarks whose names start with one of the prefixes (all without any), by name.

    Raises KeyError(prefix) for a prefix that fits none.
    """
    from tests import bench as package

    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{package.__name__}.{module.name}")
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in _benches):
            raise KeyError(prefix)
    return [_benches[name] for name in sorted(_benches) if not prefixes or name.startswith(tuple(prefixes))]
