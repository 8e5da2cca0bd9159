"""Prepare the next steps of a loop in threads while the current one runs."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor


class Prefetcher:
    """Iterates over function(step); with workers, threads compute the next results ahead of time."""

    def __init__(self, function, steps, workers):
        self.function, self.steps = function, iter(steps)
        self.depth = 2 * workers  # results ahead: no worker idles while the loop takes one
        self.pool = ThreadPoolExecutor(workers) if workers else None
        self.waiting = deque()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.pool:
            self.pool.shutdown(cancel_futures=True)

    def __next__(self):
        if self.pool is None:
            return self.function(next(self.steps))
        while len(self.waiting) < self.depth:
            step = next(self.steps, None)
            if step is None:
                break
            self.waiting.append(self.pool.submit(self.function, step))
        return self.waiting.popleft().result()
