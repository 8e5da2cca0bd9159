"""Checkpoints: what is wrong with one is named, and none can run code."""

import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from common import files
from common.errors import InputError
from common.formats import checkpoints
from common.formats.zips import HEADER, member_start
from tests.released import left_over


class Malicious:
    """Unpickled by an ordinary reader, this makes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.fixture
def network():
    return torch.nn.Linear(3, 2)


def test_tensors_containers_and_numpy_scalars_come_back(tmp_path, network):
    value = {"model": network.state_dict(), "lr": np.float64(0.5), "step": 7, "list": [1, None, "x"],
             "f": np.float32(1)}
    checkpoints.save_torch(tmp_path / "a.pth", value)
    read = checkpoints.load_torch(tmp_path / "a.pth")
    assert torch.equal(read["model"]["weight"], network.weight)
    assert isinstance(read["model"], OrderedDict)
    assert (float(read["lr"]), read["step"], read["list"]) == (0.5, 7, [1, None, "x"])


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))])
def test_a_malicious_file_runs_nothing_and_is_named(save, tmp_path):
    target = tmp_path / "ran"
    save({"model": Malicious(target)}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match="nothing of it was run") as caught:
        checkpoints.load_torch(tmp_path / "bad.pth")
    assert "system" in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "bad.pth"))
    assert not target.exists()


def test_any_truncation_or_foreign_file_is_named(tmp_path, network):
    checkpoints.save_torch(tmp_path / "a.pth", network.state_dict())
    whole = (tmp_path / "a.pth").read_bytes()
    checkpoints.save_torch(tmp_path / "a.pth", [torch.zeros(50) for _ in range(200)])
    many = (tmp_path / "a.pth").read_bytes()
    contents = [data[: int(len(data) * share)] for data in (whole, many) for share in (0, 0.1, 0.5, 0.9, 0.99)]
    for content in [*contents, b"PK\x03\x04 not a zip", b"<html>not found</html>", b"\x80\x02garbage", b"\x80\x02)Rb.",
                    b"\x80\x02e.",
                    *(np.random.default_rng(seed).bytes(200) for seed in range(100))]:
        (tmp_path / "b.pth").write_bytes(content)
        with pytest.raises(InputError, match="b.pth: .*(truncated|asks for)"):
            checkpoints.load_torch(tmp_path / "b.pth")
    with pytest.raises(InputError, match="no such file"):
        checkpoints.load_torch(tmp_path / "none.pth")
    with pytest.raises(InputError, match="a folder"):
        checkpoints.load_torch(tmp_path)


@pytest.mark.parametrize(("changed", "said"), [("value", "CRC-32"), ("name", "does not begin where"),
                                               ("mark", "does not begin where")])
def test_a_storage_that_is_not_the_one_that_was_written_is_named(changed, said, tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "w.pt")
    whole = bytearray((tmp_path / "w.pt").read_bytes())
    with zipfile.ZipFile(tmp_path / "w.pt") as archive, open(tmp_path / "w.pt", "rb") as stream:
        entry = next(entry for entry in archive.infolist() if entry.filename.endswith("/data/0"))
        start = member_start(stream, entry)
        assert whole[start:start + entry.file_size] == archive.read(entry)
    whole[{"value": start, "name": entry.header_offset + HEADER.size, "mark": entry.header_offset}[changed]] ^= 1
    (tmp_path / "w.pt").write_bytes(whole)
    with pytest.raises(InputError, match=said):
        checkpoints.load_torch(tmp_path / "w.pt")


def test_wrong_states_are_named(network):
    def refused(change):
        state = dict(network.state_dict())
        change(state)
        with pytest.raises(InputError) as caught:
            checkpoints.load_strictly(network, state, "a.pth")
        return str(caught.value)

    assert "'bias' is missing (1 missing, 0 unexpected of 2 entries)" in refused(lambda state: state.pop("bias"))
    assert "'extra' is not part of this network" in refused(lambda state: state.update(extra=torch.zeros(1)))
    assert "shape (3, 2), expected (2, 3)" in refused(lambda state: state.update(weight=torch.zeros(3, 2)))
    assert "'weight' holds NaN" in refused(lambda state: state.update(weight=torch.full((2, 3), float("nan"))))


def test_safetensors_round_trip_and_truncation(tmp_path, network):
    path = tmp_path / "a.safetensors"
    checkpoints.save_safetensors(path, network.state_dict(), {"step": "7"})
    (tmp_path / "any").touch()
    assert path.stat().st_mode == (tmp_path / "any").stat().st_mode
    tensors, metadata = checkpoints.load_safetensors(path)
    assert torch.equal(tensors["weight"], network.weight)
    assert metadata == {"step": "7"}
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="not a complete safetensors file"):
        checkpoints.load_safetensors(path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_named_though_torch_hides_it(tmp_path):
    path = tmp_path / "a.pth"
    (tmp_path / f".a.pth.{os.getpid()}{files.TEMPORARY}").symlink_to("/dev/full")
    with pytest.raises(InputError, match="a.pth: no space left on the disk"):
        checkpoints.save_torch(path, {"x": torch.zeros(100_000)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_safetensors_of_a_name_that_is_not_utf8_are_read(tmp_path, network):
    path = tmp_path / "a\udcff.safetensors"
    checkpoints.save_safetensors(path, network.state_dict(), {})
    assert torch.equal(checkpoints.load_safetensors(path)[0]["weight"], network.weight)


def test_safetensors_are_written_under_our_temporary_name_alone(tmp_path):
    path = tmp_path / "a.safetensors"
    (tmp_path / f".a.safetensors.{os.getpid()}{files.TEMPORARY}").symlink_to("/dev/full")
    with pytest.raises(InputError, match="a.safetensors: no space left on the disk"):
        checkpoints.save_safetensors(path, {"x": torch.zeros(100_000)}, {})
    assert list(tmp_path.iterdir()) == []


def test_safetensors_have_their_metadata_in_the_given_order(tmp_path):
    metadata = {f"name {number}": "\u03bb" * number for number in range(12)}  # the library shuffles them by process
    checkpoints.save_safetensors(tmp_path / "a.safetensors", {"b": torch.arange(3.0), "a": torch.ones(2, 2)}, metadata)
    data = (tmp_path / "a.safetensors").read_bytes()
    assert [data.index(name.encode()) for name in metadata] == sorted(data.index(name.encode()) for name in metadata)
    state, stored = checkpoints.load_safetensors(tmp_path / "a.safetensors")
    assert (stored, state["b"].tolist()) == (metadata, [0.0, 1.0, 2.0])  # which its reader shuffles again


@pytest.mark.parametrize("state", [None, 1.5, [1], "weight", torch.ones(3)])
def test_what_is_no_state_dict_is_refused(state):
    with pytest.raises(InputError, match="expected the weights of a network by name"):
        checkpoints.load_strictly(torch.nn.Linear(2, 2), state, "a.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_what_a_file_held_goes_with_its_value_without_a_garbage_collection(tmp_path, zipped):
    torch.save({"a": torch.ones(3), "more": [{"b": torch.zeros(2)}]}, path := tmp_path / "a.pth",
               _use_new_zipfile_serialization=zipped)
    with left_over(torch.Tensor) as tensors:
        value = checkpoints.load_torch(path)
        del value
    assert not tensors
