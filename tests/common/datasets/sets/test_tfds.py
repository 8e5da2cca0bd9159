"""Prepared tensorflow-datasets folders: TFRecord by our own reader, array_record, versions, shards and damage."""

import contextlib
import json
import struct

import numpy as np
import pytest

from common.datasets import open_dataset
from common.datasets.sets.tfrecord import crc32c, masked_crc32c, parse_example, read_records
from common.errors import InputError
from tests.common.datasets.makers import example, pixels, png, slow_crc32c, tfrecord

IMAGES = pixels(7)
LABELS = [3, 0, 9, 9, 1, 2, 7]


def records(images=IMAGES, labels=LABELS):
    return [example(image=png(image), label=label, id=b"train_%d" % label) for image, label in zip(images, labels)]


def array_record(path, payloads):
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(path), "group_size:1")
    for payload in payloads:
        writer.write(payload)
    writer.close()


def prepare(root, name="cifar10", version="3.0.2", kind="tfrecord", split="train", shards=((0, 4), (4, 7)), info=True):
    """Write a prepared folder with the images in shards; return the paths of the shards."""
    folder = root / name / version
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, (start, end) in enumerate(shards):
        path = folder / f"{name}-{split}.{kind}-{number:05d}-of-{len(shards):05d}"
        (tfrecord if kind == "tfrecord" else array_record)(path, records()[start:end])
        paths.append(path)
    if info:
        lengths = [str(end - start) for start, end in shards]
        (folder / "dataset_info.json").write_text(json.dumps({"splits": [{"name": split, "shardLengths": lengths}]}))
    return paths


@pytest.mark.parametrize("kind", ["tfrecord", "array_record"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_prepared_folders_are_read_from_any_level(tmp_path, kind, name):
    folder = "svhn_cropped" if name == "svhn" else name
    version = prepare(tmp_path, folder, kind=kind)[0].parent
    prepare(tmp_path, folder, kind=kind, split="test", shards=((2, 5),))
    for data_dir in (tmp_path, version.parent, version):
        train = open_dataset(name, "train", data_dir=data_dir)
        assert (train.name, train.image_shape, len(train)) == (name, (32, 32, 3), 7)
        np.testing.assert_array_equal(train.read([6, 0, 4]), IMAGES[[6, 0, 4]])
        assert train.labels.tolist() == LABELS
        assert train.labels.dtype == np.int64
    test = open_dataset(name, "test", data_dir=tmp_path)
    np.testing.assert_array_equal(test.read(range(3)), IMAGES[2:5])
    assert [entry["name"] for entry in test.fingerprint()["files"]] == [f"{folder}-test.{kind}-00000-of-00001"]


@pytest.mark.parametrize("kind", ["tfrecord", "array_record"])
def test_examples_serialised_by_tfds_itself_are_read(tmp_path, kind):
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict({
        "id": tfds.features.Text(),
        "image": tfds.features.Image(shape=(32, 32, 3)),
        "label": tfds.features.ClassLabel(num_classes=10),
    })
    payloads = []
    for image, label in zip(IMAGES, LABELS):
        (tmp_path / "image.png").write_bytes(png(image))
        encoded = features.encode_example({"id": "train_1", "image": str(tmp_path / "image.png"), "label": label})
        payloads.append(features.serialize_example(encoded))
    path = prepare(tmp_path, shards=((0, 7),), kind=kind)[0]
    (tfrecord if kind == "tfrecord" else array_record)(path, payloads)
    train = open_dataset("cifar10", "train", data_dir=tmp_path)
    np.testing.assert_array_equal(train.read(range(7)), IMAGES)
    assert train.labels.tolist() == LABELS


def test_the_environment_names_the_tfds_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "prepared"))
    prepare(tmp_path / "prepared")
    assert len(open_dataset("CIFAR10", "train")) == 7


def test_the_newest_version_by_number_is_taken(tmp_path):
    for version, shards in (("3.0.2", ((0, 1),)), ("3.0.10", ((0, 5),)), ("3.0.9", ((0, 3),))):
        prepare(tmp_path, version=version, shards=shards)
    assert len(open_dataset("cifar10", "train", data_dir=tmp_path)) == 5


def test_a_missing_shard_is_named(tmp_path):
    paths = prepare(tmp_path)
    paths[0].unlink()
    with pytest.raises(InputError) as caught:
        open_dataset("cifar10", "train", data_dir=tmp_path)
    assert str(paths[0]) in str(caught.value)


@pytest.mark.parametrize("kind", ["tfrecord", "array_record"])
def test_a_shard_with_fewer_records_than_announced_is_named(tmp_path, kind):
    paths = prepare(tmp_path, kind=kind)
    (tfrecord if kind == "tfrecord" else array_record)(paths[1], records()[4:6])
    with pytest.raises(InputError, match=r"00001-of-00002: 2 records, dataset_info\.json has 3"):
        open_dataset("cifar10", "train", data_dir=tmp_path)


def test_every_truncation_of_a_tfrecord_is_an_input_error(tmp_path):
    path = tmp_path / "file"
    tfrecord(path, [b"12345", b"", b"abc"])
    whole = path.read_bytes()
    assert read_records(path) == [b"12345", b"", b"abc"]
    ends = {0: 0, 21: 1, 37: 2}
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        if length in ends:
            assert len(read_records(path)) == ends[length]
        else:
            with pytest.raises(InputError, match="truncated"):
                read_records(path)


def test_every_damaged_byte_of_a_tfrecord_is_noticed(tmp_path):
    path = tmp_path / "file"
    tfrecord(path, [b"12345", b"", b"abcdefg"])
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(bytes(damaged))
        with pytest.raises(InputError, match="checksum"):
            read_records(path)


def test_a_broken_shard_is_named(tmp_path):
    for kind in ("tfrecord", "array_record"):
        path = prepare(tmp_path / kind, kind=kind)[0]
        path.write_bytes(path.read_bytes()[:5000])
        with pytest.raises(InputError) as caught:
            open_dataset("cifar10", "train", data_dir=tmp_path / kind)
        assert str(path) in str(caught.value)


def test_checksums_equal_the_definition():
    assert crc32c(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF
    data = np.random.default_rng(0).integers(0, 256, 3000, dtype=np.uint8)
    lengths = np.array([5, 0, 1, 100, 64, 99, 2])
    starts = np.array([0, 10, 2999, 7, 900, 50, 2998])
    expected = [slow_crc32c(data[start : start + length].tobytes()) for start, length in zip(starts, lengths)]
    assert masked_crc32c(data, starts, lengths).tolist() == expected
    assert [crc32c(data[start : start + length].tobytes()) for start, length in zip(starts, lengths)] == expected


def test_examples_agree_with_the_protocol_buffer_library():
    from tensorflow_datasets.proto import tf_example_generated_pb2  # the message classes, without TensorFlow

    message = tf_example_generated_pb2.Example()
    message.features.feature["image"].bytes_list.value.append(b"\x00png")
    message.features.feature["label"].int64_list.value.extend([1 << 40, -3, 0])
    message.features.feature["weight"].float_list.value.append(0.5)
    message.features.feature["empty"].bytes_list.SetInParent()
    parsed = parse_example(message.SerializeToString())
    assert parsed == {"image": [b"\x00png"], "label": [1 << 40, -3, 0], "empty": []}


def test_unpacked_integers_and_other_features_are_read():
    assert parse_example(example(packed=False, label=300, weight=0.5, id=b"x")) == {"label": [300], "id": [b"x"]}


def test_random_damage_of_an_example_is_a_value_error_or_nothing():
    whole, rng = example(image=b"\x01" * 20, label=5), np.random.default_rng(0)
    for _ in range(3000):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        with contextlib.suppress(ValueError):
            parse_example(bytes(damaged[: rng.integers(len(whole) + 1)]))


@pytest.mark.parametrize(("record", "text"), [
    (example(label=1), "no single bytes feature 'image', the record has label"),
    (example(image=png(IMAGES[0])), "no single int feature 'label'"),
    (example(image=png(IMAGES[0]), label=10), "runs 10-10, expected 0-9"),
    (example(image=b"no picture", label=1), "record 0: not a readable image"),
    (b"\x0a\xff", "not a tf.train.Example"),
])
def test_unexpected_records_are_input_errors(tmp_path, record, text):
    path = prepare(tmp_path, shards=((0, 1),))[0]
    tfrecord(path, [record])
    with pytest.raises(InputError) as caught:
        open_dataset("cifar10", "train", data_dir=tmp_path)
    assert text in str(caught.value)


def test_a_length_that_runs_past_the_end_is_not_followed(tmp_path):
    length = struct.pack("<Q", 1 << 60)
    (tmp_path / "file").write_bytes(length + struct.pack("<I", slow_crc32c(length)) + b"x" * 50)
    with pytest.raises(InputError, match="truncated"):
        read_records(tmp_path / "file")
