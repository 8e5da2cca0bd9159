"""Weights stand in memory as torch allocates it, whatever container they came from.

Kernels are chosen by alignment, so only then do equal weights give equal images.
"""

import struct

import pytest
import torch

from common.formats.checkpoints import load_safetensors, load_strictly, save_safetensors, save_torch
from common.formats.exported_program import ExportedProgram
from common.formats.tensors import aligned
from common.formats.torchscript import load_torchscript
from common.networks.adm_weights import load_adm
from common.score.config import override, preset
from common.score.models import LoadedModel, build_network
from tests.common.networks.adm_makers import small_network
from tests.common.networks.edm_pickles import arguments, dump, saved
from tests.common.programs import Small, exported

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


def misplaced(tensor):
    """Return an equal tensor that begins 4 bytes into its storage (which torch.save keeps)."""
    flat = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)
    return flat[1:].view(tensor.shape).copy_(tensor)


def odd_safetensors(path, state):
    """Write tensors that begin at every offset: the header's length and a first tensor of 5 bytes shift them."""
    save_safetensors(path, {**state, "model.map_augment.weight": torch.zeros(5, dtype=torch.uint8)}, {})
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    path.write_bytes(struct.pack("<Q", size + 3) + data[8 : 8 + size] + b"   " + data[8 + size :])


def pickled(path, network):
    path.write_bytes(dump({"ema": saved(network, kwargs=arguments(network))}))


ADM = {
    "net.pth": lambda path, network: save_torch(path, network.state_dict()),
    "views.pth": lambda path, network: save_torch(path, {k: misplaced(v) for k, v in network.state_dict().items()}),
    "old.pth": lambda path, network: torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False),
    "half.pth": lambda path, network: save_torch(path, network.half().state_dict()),
    "odd.safetensors": lambda path, network: odd_safetensors(path, network.state_dict()),
    "net.pkl": pickled,
}


def misaligned(tensors):
    """Return {name: bytes past a multiple of 64} of the tensors of a dictionary that do not begin at one."""
    return {name: tensor.data_ptr() % 64 for name, tensor in tensors.items() if tensor.data_ptr() % 64}


@pytest.mark.parametrize("name", ADM)
def test_weights_of_every_container_are_aligned(name, tmp_path):
    ADM[name](tmp_path / name, small_network())
    assert misaligned(load_adm(tmp_path / name).state_dict()) == {}


def test_safetensors_do_not_follow_their_file(tmp_path):
    """The library's own tensors are views into the mapped file."""
    path = tmp_path / "a.safetensors"
    save_safetensors(path, {"x": torch.ones(1000), "y": torch.ones(3)}, {})
    state, _ = load_safetensors(path)
    with open(path, "r+b") as stream:
        stream.write(bytes(path.stat().st_size))
    assert misaligned(state) == {}
    assert all(bool((tensor == 1).all()) for tensor in state.values())


def test_memory_mapped_and_foreign_tensors_are_aligned_when_they_become_parameters(tmp_path):
    network = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5))
    save_torch(tmp_path / "a.pth", {name: misplaced(tensor) for name, tensor in network.state_dict().items()})
    states = {"mapped": torch.load(tmp_path / "a.pth", mmap=True, weights_only=True)}
    states["buffer"] = {name: torch.frombuffer(bytearray(4) + tensor.numpy().tobytes(), dtype=tensor.dtype,
                                               offset=4).view(tensor.shape)
                        for name, tensor in network.state_dict().items() if tensor.dtype == torch.float32}
    states["buffer"]["1.num_batches_tracked"] = torch.tensor(0)
    for state in states.values():
        assert misaligned(state)
        load_strictly(network, state, "file", assign=True)
        assert misaligned(network.state_dict()) == {}
        assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in state.items())


def test_what_is_aligned_is_not_copied():
    tensor = torch.zeros(7)
    assert aligned(tensor) is tensor
    assert aligned(tensor[1:]).data_ptr() % 64 == 0


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_score_models_are_aligned(name, tmp_path):
    config = override(preset("u_digits"), ["model.nf=4", "model.attn_resolutions=4"])
    state = {key: misplaced(tensor) for key, tensor in build_network(config).state_dict().items()}
    if name == "a.pth":
        shadow = [misplaced(parameter.detach()) for parameter in build_network(config).parameters()
                  if parameter.requires_grad]
        ema = {"decay": 0.9, "num_updates": 3, "shadow_params": shadow}
        save_torch(tmp_path / name, {"model": state, "ema": ema, "optimizer": {}})
    else:
        save_safetensors(tmp_path / name, state, {})
    for weights in ("raw", "ema") if name == "a.pth" else ("raw",):
        assert misaligned(LoadedModel(tmp_path / name, config, weights).network.state_dict()) == {}


class Sliced(Small):
    """Has parameters and buffers that are parts of larger storages."""

    def __init__(self):
        super().__init__()
        self.first.bias = torch.nn.Parameter(misplaced(self.first.bias.detach()))
        self.norm.running_mean = misplaced(self.norm.running_mean)


def test_tensors_of_scripted_and_exported_modules_are_aligned(tmp_path):
    torch.jit.script(Sliced().eval()).save(tmp_path / "a.pt")
    assert misaligned(load_torchscript(tmp_path / "a.pt")) == {}
    program = ExportedProgram(exported(tmp_path / "a.pt2", Sliced()))
    assert len(program.bound) >= 8
    assert misaligned(program.bound) == {}
