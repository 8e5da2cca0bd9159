"""Data pickles: what real files hold comes back, and nothing in a file is ever run."""

import collections
import os
import pickle
import struct

import numpy as np
import pytest

from common.errors import InputError
from common.formats.pickles import loads_plain, read_pickle


class Runs:
    """Asks the unpickler to call `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def python2_pickle(pixels, labels, key=b"labels"):
    """Return the opcodes that Python 2 and numpy 1 write for {'data': pixels, key: labels}, as the makers of CIFAR
    did."""
    n, width = pixels.shape
    raw = pixels.tobytes()
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    return b"".join([
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01",
        b"J", struct.pack("<i", n), b"J", struct.pack("<i", width), b"\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R",
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T", struct.pack("<I", len(raw)), raw, b"tb",
        b"U", bytes([len(key)]), key, b"](", numbers, b"eu.",
    ])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", ["u1", "<i8", ">f4", "?", "S3", "<U2", "<c8"])
def test_arrays_and_plain_values_come_back(protocol, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    value = {"a": array, "list": [1, 2.5, None, True, [array.T]], "tuple": (array, "é"), b"bytes": b"\x00\xff", "": b""}
    if protocol == 0:
        value.pop("")
    got = loads_plain(pickle.dumps(value, protocol), "file")
    assert got.keys() == value.keys()
    for found in (got["a"], got["tuple"][0], got["list"][4][0].T):
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype
    assert got["list"][:4] == [1, 2.5, None, True]
    assert got["tuple"][1] == "é"
    assert got[b"bytes"] == b"\x00\xff"


def test_numpy_scalars_become_numbers():
    got = loads_plain(pickle.dumps([np.int64(-5), np.float32(0.5)]), "file")
    assert got == [-5, 0.5]
    assert type(got[0]) is int


def test_python_2_pickles_are_read_with_bytes_keys():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 6)
    got = loads_plain(python2_pickle(pixels, [3, 9]), "file")
    np.testing.assert_array_equal(got[b"data"], pixels)
    assert got[b"labels"] == [3, 9]


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize(("function", "name"), [
    (os.system, f"{os.system.__module__}.system"), (eval, "eval"), (getattr, "getattr"), (open, "io.open"),
    (collections.OrderedDict, "collections.OrderedDict"), (np.load, "numpy.load"),
])
def test_other_globals_are_refused_by_name_and_nothing_runs(tmp_path, protocol, function, name):
    argument = f"touch {tmp_path}/ran" if function is os.system else f"{tmp_path}/ran"
    path = tmp_path / "data"
    path.write_bytes(pickle.dumps({"data": Runs(function, argument)}, protocol))
    with pytest.raises(InputError, match=name.replace(".", r"\.")) as caught:
        read_pickle(path)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_arrays_of_objects_are_refused():
    with pytest.raises(InputError):
        loads_plain(pickle.dumps(np.array([{}, None])), "file")


def test_arrays_whose_bytes_do_not_fill_the_shape_are_refused():
    pixels = np.zeros((2, 6), np.uint8)
    data = python2_pickle(pixels, [1, 2]).replace(b"J\x02\x00\x00\x00", b"J\x03\x00\x00\x00")
    with pytest.raises(InputError, match="cannot be read"):
        loads_plain(data, "file")


def test_a_list_that_holds_itself_is_read():
    value = [1]
    value.append(value)
    got = loads_plain(pickle.dumps(value), "file")
    assert got[1] is got


def test_every_truncation_is_an_input_error():
    whole = pickle.dumps({"data": np.arange(40, dtype=np.uint8), "labels": [1, 2, 3]}, 2)
    for length in range(len(whole)):
        with pytest.raises(InputError, match="some file"):
            loads_plain(whole[:length], "some file")


def test_random_damage_never_escapes_as_another_error():
    whole = bytearray(pickle.dumps({"data": np.arange(40, dtype=np.uint8), "labels": [1, 2, 3]}, 2))
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(2000):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] = rng.integers(0, 256)
        try:
            loads_plain(bytes(damaged), "file")
        except InputError:
            refused += 1
    assert refused > 1000


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_pickle(tmp_path / "nothing")
