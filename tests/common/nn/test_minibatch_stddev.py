"""Minibatch standard deviation against its definition, for any batch, in sets of rows, and across processes."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.multiprocessing as processes

from common import parallel
from common.nn.minibatch_stddev import minibatch_stddev

EPSILON = 1e-8


def by_definition(x, rows=None):
    """The channel (B,), an image at a time."""
    size = rows or len(x)
    group = min(size, 4) if size % 4 == 0 or size < 4 else size
    sets = size // group
    found = []
    for place in range(len(x)):
        first = place // size * size
        mates = x[[row for row in range(first, first + size) if (row - place) % sets == 0]]
        assert len(mates) == group
        found.append(((mates - mates.mean(dim=0)).square().mean(dim=0) + EPSILON).sqrt().mean())
    return torch.stack(found)


def draws(count, dtype=torch.float32):
    return torch.randn(count, 3, 2, 4, generator=torch.Generator().manual_seed(count), dtype=dtype)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 8, 10, 12])
def test_T10_any_batch_follows_the_rule(count):
    x = draws(count)
    y = minibatch_stddev(x)
    assert y.shape == (count, 4, 2, 4)
    assert torch.equal(y[:, :3], x)
    torch.testing.assert_close(y[:, 3], by_definition(x)[:, None, None].expand(-1, 2, 4))


def test_T10_groups_are_written_back_to_the_rows_that_they_came_from():
    x = draws(8)
    x[[1, 3, 5, 7]] = x[1].clone()  # rows 1, 3, 5, 7 are a group, and all equal
    channel = minibatch_stddev(x)[:, 3, 0, 0]
    assert channel[[1, 3, 5, 7]].tolist() == pytest.approx([1e-4] * 4)
    assert (channel[[0, 2, 4, 6]] > 0.1).all()


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 6, 12])
def test_sets_of_rows_do_not_see_each_other(rows):
    x = draws(12)
    parts = torch.cat([minibatch_stddev(part) for part in x.split(rows)])
    assert torch.equal(minibatch_stddev(x, rows), parts)
    torch.testing.assert_close(minibatch_stddev(x, rows)[:, 3, 0, 0], by_definition(x, rows))


def test_a_batch_that_is_not_whole_sets_is_refused():
    with pytest.raises(ValueError, match="a batch of 6 rows is not whole sets of 4"):
        minibatch_stddev(draws(6), 4)


def test_it_is_computed_in_float32_whatever_comes_in():
    x = draws(4).bfloat16()
    assert minibatch_stddev(x).dtype == torch.bfloat16
    torch.testing.assert_close(minibatch_stddev(x)[:, 3].float(), minibatch_stddev(x.float())[:, 3], rtol=4e-3, atol=0)


def penalised(x, rows=None):
    """Return (values (B,), gradient by x, gradient of its squared norm by a weight) of these rows."""
    weight = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=x.dtype).requires_grad_()
    x = x.clone().requires_grad_()
    values = (minibatch_stddev(x, rows).tanh() * weight[:, None, None]).square().mean(dim=(1, 2, 3))
    gradient, = torch.autograd.grad(values.sum(), x, create_graph=True)
    second, = torch.autograd.grad(gradient.square().sum(), weight)
    return values.detach(), gradient.detach(), second


CASES = ((9, None), (12, 4), (8, 8))  # rows, and those of a set: gathered; whole in each process; 2, 3 and 3 rows


def _one_of(rank, world, port, folder):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with parallel.process_group():
        for case, (count, rows) in enumerate(CASES):
            first, last = parallel.own_rows(count)[0]
            torch.save(penalised(draws(count, torch.float64)[first:last], rows), f"{folder}/{case}_{rank}.pt")


@pytest.mark.long
def test_T8_shares_of_processes_are_gathered_with_first_and_second_derivative(tmp_path):
    processes.spawn(_one_of, (3, 29600 + os.getpid() % 1000, str(tmp_path)), 3)
    for case, (count, rows) in enumerate(CASES):
        shares = [torch.load(tmp_path / f"{case}_{rank}.pt", weights_only=True) for rank in range(3)]
        check_shares(shares, penalised(draws(count, torch.float64), rows))


def check_shares(shares, whole):
    """Compare what three processes returned with what one does for all rows."""
    values, gradient, second = whole
    near = {"rtol": 1e-12, "atol": 1e-14}
    torch.testing.assert_close(torch.cat([share[0] for share in shares]), values, **near)
    torch.testing.assert_close(torch.cat([share[1] for share in shares]), gradient, **near)
    torch.testing.assert_close(sum(share[2] for share in shares), second, **near)


@pytest.mark.parametrize(("count", "rows"), CASES)
def test_T8_shares_of_ranks_in_threads(count, rows, monkeypatch):
    """The same with three threads in place of processes."""
    own, barrier, given = threading.local(), threading.Barrier(3, timeout=60), [None] * 3

    def sum_across(tensor):
        given[own.rank] = tensor.clone()
        barrier.wait()
        tensor.copy_(sum(given))
        barrier.wait()
        return tensor

    def share(rank):
        own.rank = rank
        first, last = parallel.own_rows(count)[0]
        return penalised(draws(count, torch.float64)[first:last], rows)

    whole = penalised(draws(count, torch.float64), rows)
    for name, function in {"rank": lambda: own.rank, "world_size": lambda: 3, "sum_across": sum_across}.items():
        monkeypatch.setattr(parallel, name, function)
    with ThreadPoolExecutor(3) as pool:
        check_shares(list(pool.map(share, range(3))), whole)
