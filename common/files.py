"""Reading and writing files: a file under its final name is always complete.

Every write goes to a temporary file in the same folder, is flushed, and takes its final name by one rename. System
errors (full disk, read-only file system, no permission) become an InputError that names the file.
"""

import errno
import fnmatch
import hashlib
import io
import json
import os
import re
import stat
import zipfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from common.errors import InputError, as_input_error, refuse_endless
from common.formats.npy import read_npy
from common.formats.zips import check_sum, member_start, open_zip, zip_errors

TEMPORARY = ".part"
SMALL = 1 << 16  # bytes of a stored array that is read at once, quicker than through zipfile's reader


@contextmanager
def system_errors(path):
    """Turn an OSError that the user can fix, raised inside, into an InputError about `path`; see `refuse_endless`."""
    refuse_endless(path)
    try:
        yield
    except OSError as error:
        input_error = as_input_error(error, where=path)
        if input_error is None:
            raise
        raise input_error from error


def open_regular(path):
    """Open a file for reading, in binary; OSError for a pipe, socket or device, which might be waited for for ever."""
    stream = open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), str(path))
    return stream


def read_regular(path):
    """Return the bytes of a file; OSError as `open_regular` has it."""
    with open_regular(path) as stream:
        return stream.read()


@contextmanager
def atomic_path(path, sync=True):
    """Yield a temporary path beside `path`; on success it takes the final name, on failure it is removed.

    sync: wait for the disk. Without it a file may be empty after a power cut, though not after a kill: for small files
    by the thousand, which are checked before they are trusted.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    with system_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            if sync:
                with open(temporary, "rb") as written:
                    os.fsync(written.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path, data, sync=True):
    """Write bytes under `path`, atomically. sync: see atomic_path."""
    with atomic_path(path, sync) as temporary:
        temporary.write_bytes(data)


def write_text(path, text):
    """Write UTF-8 text under `path`, atomically."""
    write_bytes(path, text.encode())


def append_text(path, text, again=False):
    """Append UTF-8 text to a log; the one write that is not atomic: a killed run may leave half a line.

    again: a run that was stopped may have added the text, or its beginning: only what is missing of it is added.
    """
    data = text.encode()
    with system_errors(path), open(path, "ab+" if again else "ab") as log:
        if again:
            log.seek(max(0, log.tell() - len(data)))
            tail = log.read()
            data = data[next(count for count in range(len(tail), -1, -1) if tail.endswith(data[:count])):]
        log.write(data)


def write_json(path, value):
    """Write an indented JSON file, atomically. Numbers that JSON lacks (NaN, infinity) become null."""
    write_text(path, json.dumps(plain(value), indent=1, allow_nan=False) + "\n")


def plain(value):
    """Return `value` in JSON's types: dict, list, str, int, float, bool, None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy and torch scalars and arrays
        return plain(value.tolist())
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def write_npz(path, compressed=True, sync=True, **arrays):
    """Write named arrays as .npz, atomically; the same arrays give the same bytes (fixed time stamps). sync: see
    atomic_path."""
    import numpy as np

    with atomic_path(path, sync) as temporary:
        method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
        with zipfile.ZipFile(temporary, "w", method) as archive:
            for name, array in arrays.items():
                entry = zipfile.ZipInfo(f"{name}.npy")  # its default date is 1980-01-01: no clock in the file
                entry.compress_type = method
                with archive.open(entry, "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)


def write_png(path, pixels, sync=True):
    """Write uint8 pixels (H, W), (H, W, 1) or (H, W, 3) as PNG, atomically. sync: see atomic_path."""
    write_bytes(path, png_bytes(pixels), sync)


def png_bytes(pixels):
    """Return the bytes of a PNG of uint8 pixels (H, W), (H, W, 1) or (H, W, 3)."""
    from PIL import Image

    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def read_json(path):
    """Return the value of a JSON file; a missing or broken one is an InputError."""
    with system_errors(path):
        text = Path(path).read_bytes()
    try:
        return json.loads(text, object_pairs_hook=unique_pairs)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not valid JSON ({error})", where=path, do="Restore or remove the file") from error


def unique_pairs(pairs):
    """Return {key: value} of a JSON object's pairs; ValueError for a repeated key, of which json keeps the last."""
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError(f"the key {Counter(key for key, _ in pairs).most_common(1)[0][0]!r} is repeated")
    return value


def check_fields(value, fields, where):
    """Raise InputError unless a JSON value is an object whose fields, where it has them, are of these types.

    fields: {name: type or tuple of types}.
    """
    if not isinstance(value, dict):
        raise InputError(f"expected a JSON object, not {type(value).__name__}", where=where, do="Restore the file")
    for name, kinds in fields.items():
        item = value.get(name)
        if name in value and item is not None and (not isinstance(item, kinds) or isinstance(item, bool)):
            raise InputError(f"'{name}' is {type(item).__name__}", where=where, do="Restore the file")
    return value


def read_npz(path, required=(), optional=()):
    """Return {name: array} of the named arrays of a .npz file (all of them when none is named); never unpickles.

    Raises InputError when the file is missing, truncated, not an npz, or lacks a required array.
    """
    with system_errors(path), open(path, "rb") as stream:
        if stream.read(6) == b"\x93NUMPY":
            raise InputError("this is a single .npy array", where=path, do="Give a .npz file")
    broken = "cannot be read: it is not a complete .npz file"
    with zip_errors(path, broken), open_zip(path, broken) as archive:
        found = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        missing = [name for name in required if name not in found]
        if missing:
            raise InputError(f"array '{missing[0]}' is not in the file, which has {', '.join(found) or 'nothing'}",
                             where=path, do="Give a file of the expected kind")
        wanted = {*required, *optional} or found
        return {name: _member(archive, entry) for name, entry in found.items() if name in wanted}


def _member(archive, entry):
    if entry.compress_type == zipfile.ZIP_STORED and entry.file_size <= SMALL:
        archive.fp.seek(member_start(archive.fp, entry))
        data = archive.fp.read(entry.file_size)
        check_sum(entry, data)
        return read_npy(io.BytesIO(data), entry.file_size)
    with archive.open(entry) as stream:
        return read_npy(stream, entry.file_size)


def file_hash(path):
    """Return the hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with system_errors(path), open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(path):
    """Return {"name", "bytes", "sha256"} of an input file, or its name and number of entries for a folder."""
    path = Path(path)
    if path.is_dir():
        return {"name": path.name, "entries": sum(1 for _ in os.scandir(path))}
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": file_hash(path)}


def remove_leftovers(folder, below=(), names=()):
    """Remove temporary files that a killed run left in `folder`, anywhere below the folders `below`, and of the files
    `names`, as `matches` takes them.

    Of other folders nothing else is touched: another job may be writing there.
    """
    pattern = f".*{TEMPORARY}"
    found = list(Path(folder).glob(pattern)) + [path for tree in below for path in Path(tree).rglob(pattern)]
    beside = {}  # {another folder: names in it}
    for head, last in map(os.path.split, names):
        for place in matches(Path(folder), head) if head else ():
            beside.setdefault(place, []).append(last)
    for place, written in beside.items():
        found += [path for path in place.glob(pattern) if any(_is_temporary_of(path.name, last) for last in written)]
    for leftover in found:
        leftover.unlink(missing_ok=True)


def remove_abandoned(path):
    """Remove temporary files of a file that belongs to no job: those of processes that are no more."""
    path = Path(path)
    for place in path.parent.glob(f".*{TEMPORARY}"):
        if _is_temporary_of(place.name, path.name) and not _runs(int(place.name.split(".")[-2])):
            place.unlink(missing_ok=True)


def _runs(pid):
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _is_temporary_of(name, last):
    written = re.fullmatch(rf"\.(.+)\.[0-9]+{re.escape(TEMPORARY)}", name, re.DOTALL)
    return written is not None and (written[1] == last or fnmatch.fnmatchcase(written[1], last))


def matches(folder, name):
    """Return the paths of a name or pattern relative to a folder, or of an absolute path, whatever signs are in it."""
    if any(sign in name for sign in "*?[") and not os.path.isabs(name):
        return folder.glob(name)
    path = Path(os.path.normpath(folder / name))  # ".." leads out of a folder that is not made yet, too
    return [path] if path.exists() or path.is_symlink() else []


def remove_tree(folder):
    """Remove a folder with all that it holds, if there is one, and the folder around it where nothing else is there."""
    import shutil

    folder = Path(folder)
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
        if not any(folder.parent.iterdir()):
            folder.parent.rmdir()


def remove_empty(folder):
    """Remove a folder, and those in it, where no file is in them; links and files stay."""
    if os.path.islink(folder):
        return
    for place, folders, names in os.walk(folder, topdown=False):
        if not names and not any(os.path.lexists(os.path.join(place, each)) for each in folders):
            os.rmdir(place)


def check_writable(folder):
    """Check, before any slow work, that files can be created in `folder`; leaves nothing behind."""
    folder = Path(folder)
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    with system_errors(folder):
        if not existing.is_dir():
            raise NotADirectoryError(20, "not a folder", str(existing))
        probe = existing / f".probe.{os.getpid()}{TEMPORARY}"
        try:
            probe.write_bytes(b"")
        finally:
            probe.unlink(missing_ok=True)


def check_replaces(path, begins, kind, where):
    """Raise InputError for an output file in whose place there is a folder, or a file of another kind.

    begins: what files of the kind (named `kind` in the message) begin with, in letters of any case.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError("this is a folder", where=where, do="Pass the path of a file")
    if not os.path.lexists(path):
        return
    try:
        with open_regular(path) as stream:
            same = stream.read(len(begins)).lower() == begins.lower()
    except FileNotFoundError:
        return  # a link to nothing
    except OSError:
        same = False
    if not same and (path.stat().st_size or not path.is_file()):
        raise InputError(f"is in the way: this file is not a {kind}", where=where,
                         do="Choose another name, or move it away")


def write_npy(path, array):
    """Write one array in .npy format under any name, atomically (the original's sample.np)."""
    import numpy as np

    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.save(stream, array)
