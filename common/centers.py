"""centers.pt of chunked data sets: {tile id: ((row, col), width)}, plain whole numbers, in torch's zip container.

Written byte for byte as torch.save writes it, without torch: importing it costs 1.4 s in each worker process. Read by
an unpickler that knows no globals, so that a file can hold numbers, tuples, lists and dictionaries and run nothing.
"""

import io
import pickle
import struct
import zipfile
import zlib

from common.errors import InputError
from common.files import system_errors

FILE = "centers.pt"
_ALIGNMENT = 64
_FLAGS = 0x0808  # sizes and checksum follow the data; names are UTF-8
_NAMES_HASH = "02908468677762923104"  # torch's own hash over the six record names, which are always the same
_END_VERSIONS = (0x031E, 0x002D)  # made by, needed: as miniz writes its zip64 end


def centers_bytes(centers):
    """Return the bytes of a centers.pt. centers: {int id: ((int row, int col), int width)} in the order of the ids."""
    plain = {int(key): ((int(row), int(col)), int(width)) for key, ((row, col), width) in centers.items()}
    records = [("data.pkl", pickle.dumps(plain, protocol=2)), (".format_version", b"1"), (".storage_alignment", b"64"),
               ("byteorder", b"little"), ("version", b"3\n")]  # fmt: skip
    records.append((".data/serialization_id", _serialization_id(records)))
    body, directory = bytearray(), bytearray()
    for name, data in records:
        name, offset, checksum = f"centers/{name}".encode(), len(body), zlib.crc32(data)
        extra = -(offset + 30 + len(name) + 4) % _ALIGNMENT
        body += struct.pack("<4s5H3I2H", b"PK\3\4", 0, _FLAGS, 0, 0, 0, 0, 0, 0, len(name), extra + 4) + name
        body += struct.pack("<2sH", b"FB", extra) + b"Z" * extra + data
        body += struct.pack("<4s3I", b"PK\7\10", checksum, len(data), len(data))
        directory += struct.pack("<4s6H3I5H2I", b"PK\1\2", 0, 0, _FLAGS, 0, 0, 0, checksum, len(data), len(data),
                                 len(name), 0, 0, 0, 0, 0, offset) + name  # fmt: skip
    count, start, end = len(records), len(body), len(body) + len(directory)
    return bytes(
        body + directory
        + struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, *_END_VERSIONS, 0, 0, count, count, len(directory), start)
        + struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
        + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), start, 0)
    )  # fmt: skip


def _serialization_id(records):
    """Return torch's serialization id: the hash of the names, then the checksums folded together, 20 digits each."""
    folded = 0
    for _, data in records:
        folded ^= (zlib.crc32(data) + 0x9E3779B9 + (folded << 6) + (folded >> 2)) & (2**64 - 1)
    return f"{_NAMES_HASH}{folded:020d}".encode()


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"the file asks for {module}.{name}, and nothing of it was run")

    def persistent_load(self, pid):
        raise pickle.UnpicklingError("the file holds tensors")


def read_centers(path):
    """Return {id: ((row, col), width)} of a centers.pt. Raises InputError for anything else, naming what is wrong."""
    with system_errors(path), open(path, "rb") as stream:
        data = stream.read()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            name = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
            if name is None:
                raise InputError("no centers in it (data.pkl is missing)", where=path, do="Extract this image again")
            value = _PlainUnpickler(io.BytesIO(archive.read(name))).load()
    except pickle.UnpicklingError as error:
        raise InputError(f"not a plain dictionary of centers ({error})", where=path, do="Extract this image again") from error
    except Exception as error:  # an unpickler fed with noise raises nearly anything
        if isinstance(error, InputError):
            raise
        what = f"cannot be read: truncated or of another kind ({type(error).__name__})"
        raise InputError(what, where=path, do="Extract this image again") from error
    return _checked(value, path)


def _checked(value, path):
    """Return the dictionary when every entry is {int: ((int, int), int)}."""
    if not isinstance(value, dict):
        raise InputError(f"holds a {type(value).__name__}, expected a dictionary", where=path, do="Extract this image again")
    for key, entry in value.items():
        try:
            (row, col), width = entry
            numbers = (key, row, col, width)
        except (TypeError, ValueError):
            numbers = (None,)
        if not all(type(number) is int for number in numbers):
            what = f"the entry of {key!r:.40} is not ((row, col), width) in whole numbers"
            raise InputError(what, where=path, do="Extract this image again")
    return value
