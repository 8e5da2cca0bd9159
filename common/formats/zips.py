"""Zip archives from anywhere: opened and read so that damage is an InputError, and no small file unfolds to a huge one.

zipfile raises a dozen kinds of errors on damaged archives; `zip_errors` turns them all into one line.
"""

import errno
import lzma
import os
import struct
import zipfile
import zlib
from contextlib import contextmanager

from common.errors import InputError, as_input_error, refuse_endless

DAMAGE = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError,
          LookupError, AttributeError, RuntimeError, OverflowError, MemoryError)
AGAIN = "Make or copy the file again"
LARGE = 1 << 30  # bytes of a member from which on the ratio counts
LONGEST = 200  # signs of a reason; some quote the file
HEADER = struct.Struct("<4s2xH18x2H")  # of a member: mark, flags, lengths of its name and of its extra field
HIGHEST_RATIO = 200  # of a large member to its compressed bytes: photographs and activations do not reach 5


@contextmanager
def zip_errors(where, what="not a complete zip file", do=AGAIN, also=()):
    """Turn what a damaged, encrypted or foreign archive raises inside into an InputError about `where`.

    what: the words in front of the reason.  do: the advice.  also: further classes of errors.
    """
    try:
        yield
    except (OSError, *DAMAGE, *also) as error:
        mended = as_input_error(error, where=where)
        # EINVAL: an offset before the file's beginning. The decompressors' own errors have no number.
        if mended is None and isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = (str(error).strip().splitlines() or [""])[0].strip()  # behind it torch quotes the program
        reason = reason if len(reason) <= LONGEST else f"{reason[:LONGEST]}..."
        reason = reason if reason and not isinstance(error, LookupError) else f"{type(error).__name__} {reason}".strip()
        raise mended or InputError(f"{what} ({reason})", where=where, do=do) from error


def open_zip(path, what="not a complete zip file"):
    """Return the open ZipFile of a path, to be read under `zip_errors`; InputError where `checked_zip` finds fault."""
    with zip_errors(path, what):
        return checked_zip(path)


def checked_zip(file):
    """Return the ZipFile of a path or a binary stream.

    Raises one of DAMAGE for what is not a zip, for a member that is there twice, for members that overlap, and for one
    that is, or that are together, far larger than their compressed bytes can honestly be.
    """
    if isinstance(file, (str, os.PathLike)):
        refuse_endless(file)
    archive = zipfile.ZipFile(file)
    try:
        _check_members(archive)
    except BaseException:
        archive.close()
        raise
    return archive


def _check_members(archive):
    total, unfolded, names = 0, 0, set()
    for entry in archive.infolist():
        total += entry.compress_size
        unfolded += entry.file_size
        if entry.header_offset < 0:
            raise ValueError(f"'{entry.filename}' lies before the file's beginning")
        names.add(entry.filename)
        if entry.file_size > LARGE and entry.file_size > HIGHEST_RATIO * entry.compress_size:
            raise ValueError(f"'{entry.filename}' unfolds from {entry.compress_size:,} to {entry.file_size:,} bytes")
        if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
            raise ValueError(f"'{entry.filename}' has two sizes")
    if unfolded > LARGE and unfolded > HIGHEST_RATIO * total:
        raise ValueError(f"its members unfold from {total:,} to {unfolded:,} bytes")
    if len(names) != len(archive.filelist):
        raise ValueError("a member is there twice")
    if total > archive.fp.seek(0, os.SEEK_END):
        raise ValueError("its members overlap")


def member_start(stream, entry):
    """Return where the bytes of a member begin in the binary stream of its archive.

    Raises BadZipFile where its header is not there or is another's, where it ends behind the file, and where it is
    encrypted. The stream's position is anywhere afterwards.
    """
    stream.seek(entry.header_offset)
    header = stream.read(HEADER.size)
    mark, flags, name, extra = HEADER.unpack(header) if len(header) == HEADER.size else (b"", 0, 0, 0)
    encoding = "utf-8" if flags & 0x800 else "cp437"
    if mark != zipfile.stringFileHeader or stream.read(name).decode(encoding) != entry.orig_filename:
        raise zipfile.BadZipFile(f"'{entry.filename}' does not begin where the list of members says")
    if (flags | entry.flag_bits) & 1:
        raise zipfile.BadZipFile(f"'{entry.filename}' is encrypted")
    start = entry.header_offset + HEADER.size + name + extra
    if start + entry.compress_size > stream.seek(0, os.SEEK_END):
        raise zipfile.BadZipFile(f"'{entry.filename}' ends behind the file")
    return start


def check_sum(entry, data):
    """Raise BadZipFile where the bytes of a member, in any buffer, do not have its CRC-32."""
    if zlib.crc32(data) != entry.CRC:
        raise zipfile.BadZipFile(f"'{entry.filename}' has another CRC-32 than the list of members says")
