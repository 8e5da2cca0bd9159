"""TFRecord files and tf.train.Example messages, read without TensorFlow.

A record is: uint64 little-endian length, uint32 masked crc32c of these 8 bytes, the payload, uint32 masked crc32c of
the payload. Formats: tensorflow/core/lib/io/record_writer.h, tensorflow/core/example/{example,feature}.proto.
"""

from functools import cache

from common.errors import InputError

MASK_DELTA = 0xA282EAD8  # kMaskDelta of tensorflow/core/lib/hash/crc32c.h


def read_records(path):
    """Return the payloads (bytes) of a TFRecord file, in order. Both checksums of every record are verified.

    The checksums of all records are computed together, two bytes at a time, so that 100 MB of 3 kB records take about
    a second. Raises InputError naming the file and record when it is truncated or a checksum does not match.
    """
    import numpy as np

    from common.files import system_errors

    with system_errors(path), open(path, "rb") as stream:
        data = np.frombuffer(stream.read(), np.uint8)
    starts, lengths = _record_bounds(data, path)
    wrong = np.flatnonzero(masked_crc32c(data, starts, lengths) != _words(data, starts + lengths))
    if wrong.size:
        raise _broken(path, f"record {wrong[0]}: the payload does not match its checksum")
    return [data[start : start + length].tobytes() for start, length in zip(starts, lengths)]


def _record_bounds(data, path):
    """Return (N,) starts and lengths of the payloads, int64; every length is checked before it is followed."""
    import numpy as np

    starts, lengths, place = [], [], 0
    while place < len(data):
        header = data[place : place + 12]
        if len(header) < 12:
            raise _broken(path, f"record {len(starts)} is truncated")
        if crc32c(header[:8].tobytes()) != int(_words(header, np.array([8]))[0]):
            raise _broken(path, f"record {len(starts)}: the length does not match its checksum")
        length = int.from_bytes(header[:8].tobytes(), "little")
        if place + 16 + length > len(data):
            raise _broken(path, f"record {len(starts)} is truncated")
        starts.append(place + 12)
        lengths.append(length)
        place += 16 + length
    return np.array(starts, np.int64), np.array(lengths, np.int64)


def _words(data, starts):
    """Return the little-endian uint32 at each of `starts`."""
    import numpy as np

    parts = data[starts[:, None] + np.arange(4)].astype(np.uint32)
    return parts[:, 0] | parts[:, 1] << 8 | parts[:, 2] << 16 | parts[:, 3] << 24


def _broken(path, what):
    return InputError(f"{what}; not a complete TFRecord file", where=path, do="Prepare or copy the file again")


@cache
def _tables():
    """Return the tables of crc32c (Castagnoli, reflected polynomial 0x82f63b78) for one byte and for two."""
    import numpy as np

    def advance(values, bits):
        for _ in range(bits):
            values = np.where(values & 1, values >> 1 ^ np.uint32(0x82F63B78), values >> 1)
        return values.astype(np.uint32)

    return advance(np.arange(1 << 8, dtype=np.uint32), 8), advance(np.arange(1 << 16, dtype=np.uint32), 16)


@cache
def _byte_table():
    return _tables()[0].tolist()


def crc32c(message):
    """Return the masked crc32c of a short message (bytes) as an integer."""
    table, value = _byte_table(), 0xFFFFFFFF
    for byte in message:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + MASK_DELTA) & 0xFFFFFFFF


def masked_crc32c(data, starts, lengths):
    """Return the masked crc32c of data[start : start + length] for many pieces at once, (N,) uint32.

    data: (M,) uint8.  starts, lengths: (N,) int64.
    """
    import numpy as np

    bytewise, pairwise = _tables()
    order = np.argsort(-lengths, kind="stable")
    starts, lengths = starts[order], lengths[order]
    # The number of pieces, longest first, that still have both bytes of the pair at each step.
    active = np.searchsorted(-lengths, -2 * np.arange(1, lengths.max(initial=0) // 2 + 1), side="right")
    value = np.full(len(starts), 0xFFFFFFFF, np.uint32)
    for step, count in enumerate(active):
        place = starts[:count] + 2 * step
        pair = data[place] | data[place + 1].astype(np.uint32) << 8
        value[:count] = value[:count] >> 16 ^ pairwise[(value[:count] ^ pair) & 0xFFFF]
    odd = np.flatnonzero(lengths % 2)
    last = data[starts[odd] + lengths[odd] - 1]
    value[odd] = value[odd] >> 8 ^ bytewise[(value[odd] ^ last) & 0xFF]
    value = ~value
    result = np.empty_like(value)
    result[order] = (value >> 15 | value << 17) + np.uint32(MASK_DELTA)
    return result


def parse_example(message):
    """Return {feature name: list of bytes, or list of int} of a tf.train.Example; float features are skipped.

    Raises ValueError when the message is not one.
    """
    features = {}
    for field, group in _fields(message):
        for inner, entry in _fields(group) if field == 1 else ():
            if inner == 1:
                pair = dict(_fields(entry))  # a map entry: 1 the key, 2 the Feature
                name = pair.get(1, b"").decode()
                for kind, values in _fields(pair.get(2, b"")):
                    if kind == 1:
                        features[name] = [value for number, value in _fields(values) if number == 1]
                    elif kind == 3:
                        features[name] = _integers(values)
    return features


def _integers(message):
    """Return the integers of an Int64List, packed or not."""
    values = []
    for field, value in _fields(message):
        if field == 1 and isinstance(value, int):
            values.append(value)
        elif field == 1:
            place = 0
            while place < len(value):
                number, place = _varint(value, place)
                values.append(number)
    return [value - (1 << 64) if value >> 63 else value for value in values]


def _fields(message):
    """Yield (field number, bytes or int) of a protocol-buffer message."""
    if not isinstance(message, bytes):
        raise ValueError("a number where a message is expected")
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        wire = tag & 7
        if wire == 0:
            value, place = _varint(message, place)
        elif wire in (1, 2, 5):
            length, place = _varint(message, place) if wire == 2 else (8 if wire == 1 else 4, place)
            if place + length > len(message):
                raise ValueError("a field is truncated")
            value = message[place : place + length]
            place += length
        else:
            raise ValueError(f"wire type {wire}")
        yield tag >> 3, value


def _varint(message, place):
    """Return (value, next place) of a base-128 number."""
    value = shift = 0
    while place < len(message) and shift < 64:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, place
    raise ValueError("a number is truncated")
