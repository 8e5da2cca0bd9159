"""Two hundred damaged files each: every one is named or harmless, none crashes, none runs code."""

import os
import pickle
import warnings

import numpy as np
import pytest

from common.datasets.dlas.chunked.centers import read_centers
from common.datasets.dlas.chunked.index import open_index
from common.datasets.dlas.chunked.legacy_cache import read_cache
from common.datasets.dlas.chunked.packed import open_packed
from common.datasets.dlas.chunked.virtual import read_geometry
from common.datasets.dlas.options import create_dataset
from common.errors import InputError
from tests.common.datasets.dlas.chunked.makers import (
    Hostile,
    hostile_pickle,
    hostile_torch,
    make_folders,
    make_parquet,
    make_tar,
    make_virtual,
    options_for,
    save_centers,
    write_cache,
)

COUNT = 200


def mutate(data, seed):
    """Return bytes with some damage: flipped, cut off, doubled, zeroed, or pieces swapped."""
    rng = np.random.default_rng(seed)
    found = bytearray(data)
    kind = seed % 5
    place = int(rng.integers(len(found)))
    length = int(rng.integers(1, 40))
    if kind == 0:
        for _ in range(int(rng.integers(1, 12))):
            found[int(rng.integers(len(found)))] = int(rng.integers(256))
    elif kind == 1:
        del found[place:]
    elif kind == 2:
        found[place:place] = found[place : place + length] or b"\0"
    elif kind == 3:
        found[place : place + length] = bytes(len(found[place : place + length]))
    else:
        del found[place : place + length]
    return bytes(found)


def survive(read, path, data):
    """Write every mutation of `data` to a path and read it; returns how many were refused, each by its name."""
    said = []
    for seed in range(COUNT):
        path.write_bytes(mutate(data, seed))
        try:
            read(path)
        except InputError as error:
            said.append(str(error))
    assert all(path.name in text and len(text) < 1000 for text in said)
    return len(said)


def test_mutated_centers(tmp_path):
    path = tmp_path / "centers.pt"
    save_centers(path, {number: ((number, 2 * number), 16) for number in range(20)})
    assert read_centers(path)[3] == ((3, 6), 16)
    assert survive(read_centers, path, path.read_bytes()) > COUNT // 4


def test_mutated_caches(tmp_path):
    write_cache(tmp_path, {"a": ["1.jpg", "2.jpg"], "b": ["3.jpg"]})
    path = tmp_path / "cache.pth"
    assert read_cache(path) == {"a": ["1.jpg", "2.jpg"], "b": ["3.jpg"]}
    assert survive(read_cache, path, path.read_bytes()) > COUNT // 4


def test_mutated_geometry_and_shards(tmp_path):
    geometry = tmp_path / "virtual/a_left/geometry.jsonl"
    make_virtual(tmp_path / "virtual")
    assert survive(read_geometry, geometry, geometry.read_bytes()) > COUNT // 4
    for make, name in ((make_tar, "shard-000000.jsonl"), (make_parquet, "shard-000000.parquet")):
        root = make(tmp_path / name)
        path = tmp_path / name / name
        survive(lambda _, root=root: open_packed(open_index(root), 0), path, path.read_bytes())
    root = make_tar(tmp_path / "bare", index=False)
    path = tmp_path / "bare/shard-000000.tar"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        survive(lambda _: open_packed(open_index(root), 0), path, path.read_bytes())


def test_mutated_tiles_and_references(tmp_path):
    root = make_folders(tmp_path / "set", names=("a",))
    for name in ("00000001.png", "ref.jpg"):
        path = tmp_path / "set/a" / name
        whole = path.read_bytes()
        survive(lambda _: create_dataset(options_for(root, need_ref=True))[0], path, whole)
        path.write_bytes(whole)


def test_a_data_set_of_damaged_files_is_read_to_its_end(tmp_path):
    """With broken_images "next": whatever can be read is given, the rest is named in warnings."""
    names = [f"f{number:03d}" for number in range(20)]
    root = make_folders(tmp_path / "set", names=names)
    for number, name in enumerate(names[:15]):
        file = ("00000001.png".replace("0001", f"{10 * number + 1:04d}"), "ref.jpg", "centers.pt")[number % 3]
        path = tmp_path / "set" / name / file
        path.write_bytes(mutate(path.read_bytes(), 5 * number + 1))
    dataset = create_dataset(options_for(root, need_ref=True, needs_metadata=True, broken_images="next"))
    with pytest.warns(UserWarning, match="next item") as caught:
        assert len([item["GT_path"] for item in dataset]) == 40
    told = " ".join(str(warning.message) for warning in caught)
    assert all(f"/{name}/" in told for name in names[:15])


@pytest.mark.parametrize("make", [hostile_torch, hostile_pickle])
@pytest.mark.parametrize("read", [read_centers, read_cache])
def test_hostile_files_are_named_and_never_run(tmp_path, make, read):
    path, proof = tmp_path / "hostile.pt", tmp_path / "proof"
    make(path, proof)
    with pytest.raises(InputError, match="hostile.pt"):
        read(path)
    assert not proof.exists()


def test_the_refused_global_is_named(tmp_path):
    path, proof = tmp_path / "centers.pt", tmp_path / "proof"
    hostile_torch(path, proof)
    with pytest.raises(InputError, match="system.*nothing of it was run"):
        read_centers(path)
    assert not proof.exists()
    pickle.loads(pickle.dumps(Hostile(proof)))  # an ordinary reader would have run it
    assert proof.exists()


def test_a_class_of_the_known_name_is_only_a_holder(tmp_path):
    """Whatever module the file names, and whatever it calls the class with."""
    class_call = b"\x80\x02cos\nChunkWithReference\n(X\x01\x00\x00\x00xtR]q\x00."
    path = tmp_path / "cache.pth"
    path.write_bytes(pickle.dumps(1) * 3 + class_call)
    with pytest.raises(InputError, match="cache.pth"):
        read_cache(path)
    assert not hasattr(os, "ChunkWithReference")


def test_compressed_records_are_refused(tmp_path):
    """A small file could unfold to any size."""
    import zipfile

    path = tmp_path / "centers.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("centers/data.pkl", b"\x80\x02" + b"N0" * 10_000_000 + b"N.")
    with pytest.raises(InputError, match="compressed"):
        read_centers(path)


def test_centers_of_the_older_form_of_torch_are_read(tmp_path):
    import torch

    path = tmp_path / "centers.pt"
    torch.save({7: ((1, 2), 3)}, path, _use_new_zipfile_serialization=False)
    assert read_centers(path) == {7: ((1, 2), 3)}


@pytest.mark.parametrize("value",
                         [[1, 2], {"a": ((1, 2), 3)}, {1: (1, 2)}, {1: ((1, 2), "x")}, {1: ((1, 2, 3), 4)},
                          {1: ((True, 2), 3)},
                                   {1: ((2**40, 2), 3)}])
def test_centers_of_another_shape_are_refused(tmp_path, value):
    save_centers(tmp_path / "centers.pt", value)
    with pytest.raises(InputError, match="centers.pt"):
        read_centers(tmp_path / "centers.pt")
