"""Reading centers.pt: {tile id: ((row, col), width)} in pixels of the reference, written by torch.save.

The file is a zip with a pickle of builtin numbers, tuples and one dictionary. It is read here without torch: the
restricted unpickler knows nothing else, so that no file can run code, and a small file takes 0.1 ms.
"""

import io
import zipfile
import zlib

from common.errors import InputError
from common.files import system_errors

LARGEST_PICKLE = 1 << 28  # 256 MB; 10 000 tiles take 0.3 MB
LARGEST_NUMBER = 1 << 31
DO = "Extract this photo again, or drop needs_metadata and strict from the options"


def read_centers(path):
    """Return {id: (row, col, width)} (ints, pixels of the reference) of a centers.pt file.

    Raises InputError naming a file that is missing, damaged, or holds or asks for anything else.
    """
    with system_errors(path), open(path, "rb") as stream:
        data = stream.read()
    return parse_centers(data, path)


def parse_centers(data, where):
    """Return {id: (row, col, width)} from the bytes of a centers.pt file; InputError naming `where`."""
    from common.pickles import loads_plain

    value = loads_plain(torch_pickle(data, where), where)
    if not isinstance(value, dict):
        raise InputError(f"holds a {type(value).__name__}, expected a dictionary of tile centres", where=where, do=DO)
    found = {}
    for tile, entry in value.items():
        try:
            (row, col), width = entry
        except (TypeError, ValueError):
            row = None
        if row is None or not all(_is_count(number) for number in (tile, row, col, width)):
            raise InputError(f"entry {str(tile)[:40]!r} is not ((row, col), width)", where=where, do=DO)
        found[tile] = (row, col, width)
    return found


def torch_pickle(data, where):
    """Return the pickle inside the bytes of a file of torch.save (zip form, or the older form of several pickles)."""
    if data[:2] != b"PK":
        return _legacy_pickle(data, where)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(names) != 1:
                raise InputError("not a file of torch.save: no data.pkl in it", where=where, do=DO)
            # torch stores without compression; anything else could unfold to any size.
            info = archive.getinfo(names[0])
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > min(LARGEST_PICKLE, len(data)):
                raise InputError("not a file of torch.save: its data.pkl is compressed or oversized", where=where, do=DO)
            return archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError, KeyError) as error:
        raise InputError(f"cannot be read as a file of torch.save ({error})", where=where, do=DO) from error


def _legacy_pickle(data, where):
    """Return the rest of an old torch file (before 1.6) behind its first three pickles: magic number, protocol, system.

    The first two are numbers and so of fixed form; of the third, a dictionary, the end is found without running it.
    """
    import pickletools

    stream = io.BytesIO(data)
    try:
        for _ in range(3):
            for _ in pickletools.genops(stream):
                pass
    except Exception as error:  # pickletools raises whatever its argument readers raise; nothing is run
        raise InputError("not a file of torch.save", where=where, do=DO) from error
    return data[stream.tell() :]


def _is_count(number):
    return isinstance(number, int) and not isinstance(number, bool) and -LARGEST_NUMBER < number < LARGEST_NUMBER
