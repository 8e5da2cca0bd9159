"""centers.pt of chunked data sets: {tile id: ((row, col), width)}, plain integers, in torch's zip container.

Written byte for byte like torch.save, without torch: importing it costs 1.4 s in each worker process. Read by the
restricted unpickler, so that no file can run code; a small file takes 0.1 ms.
"""

import pickle
import struct
import zlib

from common.errors import InputError
from common.files import system_errors
from common.formats.pickles import loads_plain_torch

FILE = "centers.pt"
LARGEST_NUMBER = 1 << 31
DO = "Extract this photo again"
_ALIGNMENT = 64  # of record data, torch's
_FLAGS = 0x0808  # sizes and checksum follow the data; names are UTF-8
_NAMES_HASH = "02908468677762923104"  # torch's own hash of the six record names, which never change
_END_VERSIONS = (0x031E, 0x002D)  # made by, needed: as miniz writes its zip64 end


def centers_bytes(centers):
    """Return the bytes of a centers.pt. centers: {int id: ((int row, int col), int width)} in the order of the ids."""
    plain = {int(key): ((int(row), int(col)), int(width)) for key, ((row, col), width) in centers.items()}
    records = [("data.pkl", pickle.dumps(plain, protocol=2)), (".format_version", b"1"), (".storage_alignment", b"64"),
               ("byteorder", b"little"), ("version", b"3\n")]
    records.append((".data/serialization_id", _serialization_id(records)))
    body, directory = bytearray(), bytearray()
    for name, data in records:
        name, offset, checksum = f"centers/{name}".encode(), len(body), zlib.crc32(data)
        extra = -(offset + 30 + len(name) + 4) % _ALIGNMENT
        body += struct.pack("<4s5H3I2H", b"PK\3\4", 0, _FLAGS, 0, 0, 0, 0, 0, 0, len(name), extra + 4) + name
        body += struct.pack("<2sH", b"FB", extra) + b"Z" * extra + data
        body += struct.pack("<4s3I", b"PK\7\10", checksum, len(data), len(data))
        directory += struct.pack("<4s6H3I5H2I", b"PK\1\2", 0, 0, _FLAGS, 0, 0, 0, checksum, len(data), len(data),
                                 len(name), 0, 0, 0, 0, 0, offset) + name
    count, start, end = len(records), len(body), len(body) + len(directory)
    return bytes(
        body + directory
        + struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, *_END_VERSIONS, 0, 0, count, count, len(directory), start)
        + struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
        + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), start, 0)
    )


def _serialization_id(records):
    """Return torch's serialization id: the hash of the names, then the combined checksums, 20 digits each."""
    folded = 0
    for _, data in records:
        folded ^= (zlib.crc32(data) + 0x9E3779B9 + (folded << 6) + (folded >> 2)) & (2**64 - 1)  # boost's hash_combine
    return f"{_NAMES_HASH}{folded:020d}".encode()


def read_centers(path):
    """Return {id: ((row, col), width)} (ints, pixels of the reference) of a centers.pt file.

    Raises InputError naming a file that is missing, damaged, or contains or loads anything else.
    """
    with system_errors(path), open(path, "rb") as stream:
        data = stream.read()
    value = loads_plain_torch(data, path)
    if not isinstance(value, dict):
        raise InputError(f"is of type {type(value).__name__}, expected a dictionary of tile centres", where=path, do=DO)
    for tile, entry in value.items():
        try:
            (row, col), width = entry
        except (TypeError, ValueError):
            row = None
        if row is None or not all(_is_count(number) for number in (tile, row, col, width)):
            raise InputError(f"entry {str(tile)[:40]!r} is not ((row, col), width)", where=path, do=DO)
    return value


def _is_count(number):
    return isinstance(number, int) and not isinstance(number, bool) and -LARGEST_NUMBER < number < LARGEST_NUMBER
