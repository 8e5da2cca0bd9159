"""What torch.save and torch.jit.save write, read here: a zip of a pickle and storages, or (before torch 1.6) a stream.

torch.load is not used: its unpickler takes for ever over some 300 bytes, and it compares no check sums.
"""

import io
import sys
import zipfile

from common.errors import InputError
from common.formats.tensors import checked_storage, memory, outside, read_flat
from common.formats.unpickle import Interpreter, Refused
from common.formats.zips import DAMAGE, check_sum, checked_zip, member_start

PACKED = {b"\x1f\x8b": "a gzip archive (.tar.gz)", b"BZh": "a bzip2 archive (.tar.bz2)",
          b"\xfd7zXZ": "an xz archive (.tar.xz)", b"\x28\xb5\x2f\xfd": "a Zstandard archive (.tar.zst)"}
ZIP, CHECKPOINTS = "a zip archive", (".ckpt", ".pt", ".pth", ".safetensors", ".tar")
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the streams


class Archive:
    """The zip of a torch file: its pickles, and its storages, all stored as they are."""

    is_finished = False  # see Interpreter

    def __init__(self, stream):
        self.archive = checked_zip(stream)
        names = [name for name in self.archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(names) != 1:
            raise ValueError("no data.pkl in it")
        self.folder = names[0].partition("/")[0]
        order = self.read("byteorder") if f"{self.folder}/byteorder" in self.archive.NameToInfo else b"little"
        if order.decode("ascii") != sys.byteorder:
            raise ValueError(f"byte order {order.decode('ascii')!r}")

    def member(self, name):
        """Return a member's entry; KeyError when there is none. torch compresses only the code: others are refused."""
        entry = self.archive.getinfo(f"{self.folder}/{name}")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"its {name} is compressed")
        return entry

    def read(self, name):
        """Return the bytes of one member, its check sum compared."""
        return self.archive.read(self.member(name))

    def load(self, lookup):
        """Return the value of data.pkl, with stand-ins; lookup: see Interpreter."""
        data = self.read("data.pkl")
        interpreter = Interpreter(io.BytesIO(data), len(data), lookup, outside)
        value, self.is_finished = interpreter.load(), interpreter.is_finished
        return value

    def storage(self, key, dtype, count):
        """Return a storage's elements as a flat tensor."""
        entry = self.member(f"data/{key}")
        if entry.file_size != count * dtype.itemsize:
            raise ValueError(f"storage {key} has {entry.file_size:,} bytes, not those of {count:,} elements")
        stream = self.archive.fp  # zipfile's own reader takes longer than most storages
        stream.seek(member_start(stream, entry))
        flat = read_flat(stream, dtype, count)
        check_sum(entry, memory(flat))
        return flat


class Stream:
    """The older form: pickles of a magic number, the protocol, the writer's system, the value, the list of keys; then
    for each key a little-endian 8-byte count and the raw values."""

    is_finished = False

    def __init__(self, stream, size):
        self.stream, self.size, self.places = stream, size, {}

    def load(self, lookup):
        """Return the value, with stand-ins; lookup: see Interpreter."""
        magic, protocol, system = (self._next(_no_globals) for _ in range(3))
        if type(magic) is not int or (magic, protocol) != (MAGIC, PROTOCOL) or not isinstance(system, dict):
            raise ValueError("no torch stream")
        if system.get("little_endian", True) is not True or sys.byteorder != "little":
            raise ValueError("a stream of another byte order")
        storages = {}

        def remember(identity):
            storage = outside(identity)
            dtype, key, count = checked_storage(storage)
            storages[key] = dtype, count
            return storage

        value = self._next(lookup, remember)
        keys = self._next(_no_globals)
        if not isinstance(keys, list) or not all(isinstance(key, str) and key in storages for key in keys):
            raise ValueError("a storage of no known kind")
        start = place = self.stream.tell()
        for key in keys:
            dtype, count = storages[key]
            self.places[key] = place
            place += 8 + count * dtype.itemsize
        if place != self.size:
            start += 8 * len(keys)
            raise ValueError(f"it has {self.size - start:,} bytes of storages, expected {place - start:,}")
        return value

    def _next(self, lookup, persistent=None):
        return Interpreter(self.stream, self.size, lookup, persistent).load()

    def storage(self, key, dtype, count):
        """Return a storage's elements as a flat tensor."""
        self.stream.seek(self.places[key])
        written = int.from_bytes(self.stream.read(8), "little")
        if written != count:
            raise ValueError(f"a storage of {written:,} elements that claims {count:,}")
        return read_flat(self.stream, dtype, count)


def _no_globals(name):
    raise Refused(f"'{name}' where only numbers and text belong")


def refuse_archive(stream, path):
    """Raise InputError when a binary stream is a packed archive: files called .tar are torch's, .tar.gz are not."""
    head = stream.read(262)
    stream.seek(0)
    kind = "a tar archive" if head[257:] == b"ustar" else next(
        (kind for mark, kind in PACKED.items() if head.startswith(mark)), None)
    if kind is None and head.startswith(b"PK") and _holds_files(stream):
        kind = ZIP
    if kind:
        unpack = "unzip" if kind == ZIP else "tar xf"
        raise InputError(f"{kind}, in which the checkpoint is packed (torch's own files may be called .tar, too)",
                         where=path, do=f"Unpack it first ({unpack}) and give the file that comes out of it")


def _holds_files(stream):
    """Return whether a zip holds files with suffixes of checkpoints, as no file of torch.save does."""
    try:
        names = zipfile.ZipFile(stream).namelist()
    except (OSError, *DAMAGE):
        names = []  # damaged: its reader says so
    stream.seek(0)
    return any(name.lower().endswith(CHECKPOINTS) for name in names)


def open_torch(stream, size):
    """Return the Archive or Stream of a binary file."""
    begins_as_zip = stream.read(4) == b"PK\x03\x04"
    stream.seek(0)
    return Archive(stream) if begins_as_zip else Stream(stream, size)
