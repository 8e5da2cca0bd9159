"""Prepared images in one mapped file: resumed, checked, refused for other images."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from common.datasets import pack
from common.datasets.prepared import Rows, open_prepared
from common.errors import InputError
from common.images.squash import for_network
from tests.common.datasets.odd_pictures import write_odd_pictures

SIZE = for_network(16)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd") / "pictures"
    write_odd_pictures(folder)
    return folder


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(pack, "CHUNK", 7 * 16 * 16 * 3)


def packed(odd, path, **more):
    images = open_prepared(odd, "train", SIZE, memory_gb=0, **more)
    images.pack(path, num_workers=2)
    return images


@pytest.mark.long
def test_a_pack_gives_the_same_batches_as_the_files(odd, tmp_path):
    plain, ours = open_prepared(odd, "train", SIZE), packed(odd, tmp_path / "deep" / "pack")
    batches = [[Rows(images, 0, 16, flip=True)(step, 0, 16) for step in range(1, 4)] for images in (plain, ours)]
    assert all(np.array_equal(one, other) for one, other in zip(*batches))
    assert ours.damaged == plain.damaged
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["pack", "pack.json"]
    assert np.load(tmp_path / "deep" / "pack").shape == (40, 16, 16, 3)


def test_a_pack_that_was_interrupted_goes_on_and_mends_torn_chunks(odd, tmp_path, monkeypatch):
    whole = packed(odd, tmp_path / "whole").read(np.arange(40))[0]
    images, calls, path = open_prepared(odd, "train", SIZE, memory_gb=0), [], tmp_path / "pack"
    load = images._load

    def failing(numbers):
        calls.append(numbers)
        if min(numbers, default=0) >= 21:
            raise KeyboardInterrupt
        return load(numbers)

    monkeypatch.setattr(images, "_load", failing)
    with pytest.raises(KeyboardInterrupt):
        images.pack(path)
    assert not path.exists()
    with open(f"{path}.part", "rb+") as stream:
        stream.seek(-40 * 16 * 16 * 3 + 8 * 16 * 16 * 3, 2)  # in the second chunk
        stream.write(b"torn")
    again, calls[:] = open_prepared(odd, "train", SIZE, memory_gb=0), []
    monkeypatch.setattr(again, "_load", lambda numbers: (calls.append(numbers), load(numbers))[1])
    again.pack(path)
    assert min(number for numbers in calls for number in numbers) == 7
    assert np.array_equal(again.read(np.arange(40))[0], whole)
    assert len(again.damaged) == 3


def chunks_done(path):
    return len(json.loads(path.read_text())["crc32"]) if path.exists() else 0


def test_a_pack_killed_at_any_moment_ends_the_same(odd, tmp_path):
    whole = packed(odd, tmp_path / "whole").read(np.arange(40))[0]
    program = ("import sys; from common.datasets import pack; pack.CHUNK = 7 * 768; "
               "from common.datasets.prepared import open_prepared; from common.images.squash import for_network; "
               "open_prepared(sys.argv[1], 'train', for_network(16), memory_gb=0).pack(sys.argv[2])")
    killed = 0
    for chunks in (1, 3, 5):
        process = subprocess.Popen([sys.executable, "-c", program, str(odd), str(tmp_path / "pack")],
                                   stderr=subprocess.DEVNULL)
        while process.poll() is None and chunks_done(tmp_path / "pack.json") < chunks:
            time.sleep(0.002)
        killed += process.poll() is None
        process.kill()
        process.wait()
    assert killed
    assert np.array_equal(packed(odd, tmp_path / "pack").read(np.arange(40))[0], whole)


def test_a_pack_of_other_images_or_another_size_is_refused(odd, tmp_path):
    packed(odd, tmp_path / "pack")
    with pytest.raises(InputError, match="made of other images"):
        packed(odd, tmp_path / "pack", limit=10)
    with pytest.raises(InputError, match="shape"):
        open_prepared(odd, "train", for_network(32)).pack(tmp_path / "pack")
    (tmp_path / "foreign").write_bytes(b"mine")
    with pytest.raises(InputError, match="in the way"):
        packed(odd, tmp_path / "foreign")
    assert (tmp_path / "foreign").read_bytes() == b"mine"


@pytest.mark.parametrize(("name", "value"), [("crc32", None), ("crc32", 5), ("unreadable", True),
                                             ("unreadable", ["x"])])
def test_a_damaged_description_is_refused(odd, tmp_path, name, value):
    packed(odd, tmp_path / "pack")
    stored = json.loads((tmp_path / "pack.json").read_text())
    (tmp_path / "pack.json").write_text(json.dumps({**stored, name: value}))
    with pytest.raises(InputError, match="does not describe"):
        packed(odd, tmp_path / "pack")


def test_a_pack_that_was_changed_is_refused_and_one_that_was_copied_is_not(odd, tmp_path):
    packed(odd, tmp_path / "pack")
    data = (tmp_path / "pack").read_bytes()
    (tmp_path / "pack").write_bytes(data)
    assert len(packed(odd, tmp_path / "pack")) == 40
    (tmp_path / "pack").write_bytes(data[:-4] + b"torn")
    with pytest.raises(InputError, match="no longer"):
        packed(odd, tmp_path / "pack")


@pytest.mark.parametrize("place", ["/", ".", "a"])
def test_a_folder_in_place_of_a_pack_is_refused(odd, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="this is a folder"):
        packed(odd, place)


def test_a_limit_takes_the_first_images(odd):
    images = open_prepared(odd, "train", SIZE, limit=5)
    assert len(images) == 5
    assert {int(number) for number in Rows(images, 0, 16).numbers(1, 0, 16)} == {*range(5)}
