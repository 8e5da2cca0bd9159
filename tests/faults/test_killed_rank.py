"""Every job in two processes, one of which is killed: the other ends within a minute, with one line, and both together
finish what is there."""

import random
import socket
import time

import pytest

from tests.faults.jobs import STOPS, check_end
from tests.faults.table import JOBS

TRIES = 2


def start_both(place):
    """Start a job in two processes of one group, as torchrun does; returns [Running]."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [place.start(variables={**group, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(2)]


def finish_both(place):
    """Run a job to its end in two processes; returns its outputs."""
    both = [running.end() for running in start_both(place)]
    assert [ended.status for ended in both] == [0, 0], both
    return place.lasting()


@pytest.mark.parametrize("name", JOBS, indirect=True)
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_ends_the_job_and_it_is_gone_on_with(name, victim, whole, tally):
    place, moments = whole.place.fresh(), random.Random(f"{name}{victim}")
    began = time.monotonic()
    outputs = finish_both(place)
    seconds = time.monotonic() - began
    for _ in range(TRIES):
        place.fresh()
        both = start_both(place)
        time.sleep(moments.uniform(0.5, 1) * seconds)
        both[victim].send(STOPS["SIGKILL"])
        ended = both[1 - victim].end()
        both[victim].end()
        if ended.status is not None or "init_process_group" not in ended.err:  # there torchrun ends who still waits
            tally("a killed rank")
            check_end(ended)
            assert ended.status == 0 or "another process of this job has ended" in ended.err, ended
        assert finish_both(place) == outputs
        assert list(place.out.rglob("*.part")) == []
