"""Tiny files in the real formats, written without our readers."""

import io
import struct
import tarfile

import numpy as np
from PIL import Image


def pixels(count, side=32, seed=0):
    """Return (count, side, side, 3) uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def planes(images):
    """Return (N, 3072) rows of R, G, B planes."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def png(image):
    """Return the bytes of a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def tar_gz(path, folder):
    """Pack a folder with its name as makers do, mode .tar.gz."""
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=folder.name)


def slow_crc32c(data):
    """Return the masked crc32c bit by bit, from its definition."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number, payload):
    """Return a length-delimited protocol-buffer field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def example(packed=True, **features):
    """Return the bytes of a tf.train.Example: bytes, float or int features."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, bytes):
            feature = field(1, field(1, value))
        elif isinstance(value, float):
            feature = field(2, field(1, struct.pack("<f", value)))
        else:
            feature = field(3, field(1, varint(value)) if packed else b"\x08" + varint(value))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def tfrecord(path, records):
    """Write a TFRecord file."""
    out = b""
    for record in records:
        length = struct.pack("<Q", len(record))
        out += length + struct.pack("<I", slow_crc32c(length)) + record + struct.pack("<I", slow_crc32c(record))
    path.write_bytes(out)
