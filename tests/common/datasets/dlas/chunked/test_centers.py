"""centers.pt: torch's bytes without torch, and nothing in such a file can run code."""

import pickle
import zipfile

import pytest
import torch

from common.datasets.dlas.chunked.centers import centers_bytes, read_centers
from common.errors import InputError


@pytest.mark.parametrize("count", [0, 1, 17, 300, 5000])
def test_the_bytes_are_those_of_torch_save(count, tmp_path):
    centers = {number: ((number % 256, number // 3), number * 70) for number in range(1, count + 1)}
    torch.save(centers, tmp_path / "centers.pt")
    assert centers_bytes(centers) == (tmp_path / "centers.pt").read_bytes()
    (tmp_path / "ours.pt").write_bytes(centers_bytes(centers))
    assert torch.load(tmp_path / "ours.pt", weights_only=True) == centers
    assert read_centers(tmp_path / "ours.pt") == centers


def zipped(path, data):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("centers/data.pkl", data)
    return path


class Hostile:
    def __reduce__(self):
        return (print, ("ran",))


def test_a_hostile_pickle_is_refused_by_name_and_runs_nothing(tmp_path, capsys):
    with pytest.raises(InputError, match="builtin__.print") as refused:
        read_centers(zipped(tmp_path / "centers.pt", pickle.dumps({1: Hostile()}, protocol=2)))
    assert "centers.pt" in str(refused.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("value", [[1, 2], {1: (2, 3)}, {1: ((1.5, 2), 3)}, {"a": ((1, 2), 3)}, {1: ((True, 2), 3)}, 5])
def test_other_contents_are_named(value, tmp_path):
    with pytest.raises(InputError):
        read_centers(zipped(tmp_path / "centers.pt", pickle.dumps(value, protocol=2)))


def test_every_mutation_is_read_or_named(tmp_path):
    import random

    whole = centers_bytes({number: ((number, 2 * number), 46) for number in range(1, 30)})
    rng, path = random.Random(0), tmp_path / "centers.pt"
    messages = []
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data[: rng.randrange(len(data))] if rng.random() < 0.3 else data)
        try:
            read_centers(path)
        except InputError as error:
            messages.append(str(error))
    assert len(messages) > 80
    assert all("centers.pt" in message for message in messages)
