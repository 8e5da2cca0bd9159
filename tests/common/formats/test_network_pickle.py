"""NVIDIA's network pickles: read without running anything, and refused by name where they want more."""

import collections
import contextlib
import os
import pickle
import struct
from pathlib import Path

import pytest
import torch

from common.errors import InputError
from common.formats.network_pickle import network_state, parse_storage, read_edm_pickle
from common.networks.adm_weights import read_adm
from tests.common.networks.adm_makers import small_network
from tests.common.networks.edm_pickles import CANARY, Call, Saved, arguments, dump, saved

PUBLIC = Path(__file__).parents[2] / "golden" / "imagenet_activations" / "edm_pickle" / "network.pkl"
RECONSTRUCT = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n"


def stored(values, **changes):
    """Return a storage's legacy stream; changes: `head` and `claimed`, counts that lie, `key`, or `kind` (a global)."""
    raw = struct.pack(f"<{len(values)}f", *values)
    parts = [pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2)]
    kind = changes.get("kind", b"ctorch\nFloatStorage\n")
    claimed = struct.pack("<i", changes.get("claimed", len(values)))
    parts.append(b"\x80\x02(X\x07\x00\x00\x00storage" + kind + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ" + claimed
                 + b"NtQ.")
    parts += [pickle.dumps([changes.get("key", "0")], 2), struct.pack("<q", changes.get("head", len(values))), raw]
    return b"".join(parts)


def tensor(storage, sizes=(4,), strides=(1,), offset=0):
    """Return opcodes that rebuild a tensor over a storage's stream."""
    body = pickle.dumps((offset, sizes, strides, False), 2)[2:-1]  # a tuple's opcodes, without PROTO and STOP
    load = b"ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(storage)) + storage + b"\x85R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + load + _items(body) + b"ccollections\nOrderedDict\n)RtR"


def _items(body):
    """Return the opcodes of the four items of a pickled tuple."""
    offset, sizes, strides, flag = pickle.loads(b"\x80\x02" + body + b".")
    return b"".join(pickle.dumps(item, 2)[2:-1] for item in (offset, sizes, strides, flag))


def module(parameters=b"}", modules=b"}", kind=b"class"):
    """Return opcodes of a persistent object with opcodes for its dictionaries of parameters and modules."""
    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value

    state = b"}(" + text(b"_parameters") + parameters + text(b"_buffers") + b"}" + text(b"_modules") + modules + b"u"
    meta = b"}(" + text(b"type") + text(kind) + text(b"module_src") + text(CANARY.encode()) + text(b"class_name")
    return RECONSTRUCT + meta + text(b"EDMPrecond") + text(b"state") + state + b"u\x85R"


def named(opcodes, name=b"weight"):
    return b"}X" + struct.pack("<I", len(name)) + name + opcodes + b"s"


def test_the_public_case_is_read_and_ordinary_unpickling_would_run_it():
    value = read_edm_pickle(PUBLIC)
    assert list(value) == ["ema", "loss_fn", "augment_pipe", "dataset_kwargs"]
    assert value["ema"].class_name == "EDMPrecond"
    assert len(network_state(value["ema"], PUBLIC)) == 66
    assert b"raise RuntimeError" in PUBLIC.read_bytes()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("positional", [False, True])
def test_written_networks_come_back_bit_for_bit(tmp_path, protocol, positional):
    network, path = small_network(augment_dim=9), tmp_path / "network-snapshot.pkl"
    kwargs = arguments(network)
    args = tuple(kwargs.pop(name) for name in ("img_resolution", "img_channels", "label_dim")) if positional else ()
    value = {"ema": saved(network, args=args, kwargs=kwargs), "loss_fn": Saved("EDMLoss", {"P_mean": -1.2}),
             "dataset_kwargs": collections.OrderedDict(path="x")}
    path.write_bytes(dump(value, protocol))
    file = read_adm(path)
    expected = network.state_dict()
    assert file.dropped == ("model.map_augment.weight",)
    assert list(file.state) == list(expected)[1:]
    assert all(torch.equal(tensor, expected[name]) for name, tensor in file.state.items())
    assert file.config.channel_mult == (1, 2)


def test_a_broken_off_file_is_refused_wherever_it_ends(tmp_path):
    data, path = PUBLIC.read_bytes(), tmp_path / "network.pkl"
    for length in (1, 2, 11, 40, 300, 2000, 66_000, 70_000, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match="truncated or damaged|expected an EDMPrecond|cannot be read"):
            read_adm(path)


def test_changed_bytes_give_an_answer_or_an_input_error(tmp_path):
    """No other exception, no code, no large memory."""
    data, path = bytearray(PUBLIC.read_bytes()), tmp_path / "network.pkl"
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        changed = bytearray(data)
        for place in torch.randint(0, 30_000, (3,), generator=generator).tolist():
            changed[place] = int(torch.randint(0, 256, (1,), generator=generator))
        path.write_bytes(changed)
        with contextlib.suppress(InputError):
            read_adm(path)


NUMBERS = [1.0, 2.0, 3.0, 4.0]
HOSTILE = {
    "another global": (b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00x\x85R.", "asks for 'os.system'"),
    "a global in a module's attributes": (b"\x80\x02" + module(named(b"cbuiltins\neval\nX\x01\x00\x00\x001\x85R"))
                                          + b".", "'builtins.eval'"),
    "a global in a storage": (b"\x80\x02" + module(named(tensor(stored(NUMBERS, kind=b"cposix\nsystem\n")))) + b".",
                              None),
    "a stream within a storage": (b"\x80\x02"
                                  + module(named(tensor(stored(NUMBERS, kind=b"ctorch.storage\n_load_from_bytes\n"))))
                                  + b".", None),
    "a path through an allowed global": (b"\x80\x04\x8c\x0dtorch.storage\x8c\x1c_load_from_bytes.__globals__\x93.",
                                         "_load_from_bytes.__globals__"),
    "numpy's own unpickling": (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n.",
                               "numpy.core.multiarray._reconstruct"),
    "a call of what a call returned": (b"\x80\x02" + module() + b"X\x01\x00\x00\x00x\x85R.", "damaged"),
    "an object outside the file": (b"\x80\x02X\x01\x00\x00\x00xQ.", "a persistent id"),
    "a registered extension": (b"\x80\x02\x82\x01.", "damaged"),
    "another kind of persistent object": (b"\x80\x02" + module(kind=b"func") + b".", "not known"),
    "a length beyond the file": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.", "more bytes expected"),
    "a string of 4 GB": (b"\x80\x03B" + struct.pack("<I", 0xFFFFFFF0) + b"x.", "more bytes expected"),
    "a byte array of 30 GB": (b"\x80\x05\x96" + struct.pack("<Q", 30 << 30) + b"x.", "byte array"),
    "a frame of 1 TB": (b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.", "more bytes expected"),
    "containers copied over and over": (
        b"\x80\x02(" + b"K\x01" * 999 + b"lq\x00cbuiltins\nset\nq\x01" + b"0h\x01h\x00\x85R" * 200 + b".",
        "copied over and over"),
}


@pytest.mark.parametrize("name", [name for name, (_, message) in HOSTILE.items() if message])
def test_hostile_pickles_are_refused(tmp_path, name):
    data, message = HOSTILE[name]
    path = tmp_path / "network.pkl"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        read_edm_pickle(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "message"),
                         [("a global in a storage", "posix.system"), ("a stream within a storage", "_load_from_bytes")])
def test_globals_inside_a_storage_are_refused_by_name(tmp_path, name, message):
    path = tmp_path / "network.pkl"
    path.write_bytes(HOSTILE[name][0])
    with pytest.raises(InputError, match=f"{message}' inside a storage"):
        network_state(read_edm_pickle(path), path)


LIES = {
    "honest": (tensor(stored(NUMBERS)), None),
    "more elements than bytes": (tensor(stored(NUMBERS, head=1 << 40, claimed=4)), "claims 4"),
    "an oversize claim": (tensor(stored(NUMBERS, claimed=1 << 30, head=1 << 30)), "has 16 bytes"),
    "fewer elements than bytes": (tensor(stored(NUMBERS, claimed=2, head=2)), "has 16 bytes"),
    "another key": (tensor(stored(NUMBERS, key="1")), "no known kind"),
    "a shape beyond the storage": (tensor(stored(NUMBERS), (5,)), "reaches outside"),
    "a stride beyond the storage": (tensor(stored(NUMBERS), (4,), (2,)), "reaches outside"),
    "an offset beyond the storage": (tensor(stored(NUMBERS), (4,), (1,), 1), "reaches outside"),
    "a negative offset": (tensor(stored(NUMBERS), (4,), (1,), -4), "numbers from 0"),
    "a shape of 2^60 by stride 0": (tensor(stored(NUMBERS), (1 << 60,), (0,)), "reaches outside"),
    "no storage": (b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00)) tR".replace(b" ", b""), "without a storage"),
    "no tensor": (b"K\x01", "not a tensor"),
}


@pytest.mark.parametrize("name", LIES)
def test_storages_and_shapes_are_checked_against_each_other(tmp_path, name):
    opcodes, message = LIES[name]
    path = tmp_path / "network.pkl"
    path.write_bytes(b"\x80\x02" + module(named(opcodes)) + b".")
    record = read_edm_pickle(path)
    if message is None:
        assert network_state(record, path)["weight"].tolist() == NUMBERS
        return
    with pytest.raises(InputError, match=message):
        network_state(record, path)


def test_modules_in_circles_and_by_the_million_are_refused(tmp_path):
    path = tmp_path / "network.pkl"
    circle = module(modules=b"}q\x05").replace(b"q\x05", b"q\x05") + b"q\x060h\x05X\x01\x00\x00\x00ah\x06s0h\x06."
    path.write_bytes(b"\x80\x02" + circle)
    with pytest.raises(InputError, match="circle"):
        network_state(read_edm_pickle(path), path)
    doubled = module(parameters=named(tensor(stored(NUMBERS))))
    for level in range(40):
        memo = bytes([100 + level])
        doubled += b"q" + memo + b"0" + module(modules=b"}(X\x01\x00\x00\x00ah" + memo + b"X\x01\x00\x00\x00bh" + memo
                                               + b"u")
    path.write_bytes(b"\x80\x02" + doubled + b".")
    with pytest.raises(InputError, match="far too many|over and over"):
        network_state(read_edm_pickle(path), path)


def test_what_a_file_sets_on_a_stand_in_does_not_outlive_it(tmp_path):
    path = tmp_path / "network.pkl"
    marked = b"\x80\x02ctorch.nn.modules.container\nModuleDict\nN}X\x06\x00\x00\x00markedK\x01s\x86b."
    path.write_bytes(marked)
    with pytest.raises(InputError, match="damaged"):
        read_edm_pickle(path)
    path.write_bytes(b"\x80\x02ctorch.nn.modules.container\nModuleDict\n.")
    assert not hasattr(read_edm_pickle(path), "marked")


def test_a_pickle_that_runs_something_is_stopped_before_it_does(tmp_path):
    path, sign = tmp_path / "network.pkl", tmp_path / "sign"
    network = saved(small_network(), kwargs=arguments(small_network()))
    network.meta["state"]["_parameters"]["extra"] = Call(os.mkdir, str(sign))
    path.write_bytes(dump({"ema": network}))
    with pytest.raises(InputError, match="asks for 'posix.mkdir'"):
        read_adm(path)
    assert not sign.exists()


def test_half_precision_storages_are_read():
    data = stored([])
    halves = data.replace(b"FloatStorage", b"HalfStorage")
    assert parse_storage(halves).dtype == torch.float16
    assert parse_storage(data).numel() == 0
