"""Errors that the user can fix, and the one line that reports them."""

import errno
import os
import stat

# System errors on reading and writing: the message, and what the user can do.
SYSTEM_ADVICE = {
    errno.ENOSPC: ("no space left on the disk",
                   "Free some space or choose another output folder, then run the same command again"),
    errno.EDQUOT: ("disk quota exceeded",
                   "Free some space or choose another output folder, then run the same command again"),
    errno.EROFS: ("read-only file system", "Choose an output folder on a writable disk"),
    errno.EACCES: ("permission denied", "Check the permissions, or choose another location"),
    errno.EPERM: ("operation not permitted", "Check the permissions, or choose another location"),
    errno.ENOENT: ("no such file or folder", "Check the path"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "Check the path"),
    errno.EEXIST: ("a file exists where a folder is needed", "Choose another output folder"),
    errno.EFBIG: ("file too large for this file system", "Choose an output folder on another disk"),
    errno.EISDIR: ("this is a folder, a file was expected", "Pass the path of the file"),
    errno.ENAMETOOLONG: ("file name too long", "Choose a shorter name"),
    errno.EIO: ("input/output error of the disk", "Look after the disk, or choose a folder on another one"),
    errno.ESTALE: ("the network folder is gone", "Mount it again, then run the same command again"),
    errno.ELOOP: ("a link that leads to itself", "Check the path"),
    errno.ENXIO: ("a pipe, socket or device, a file was expected", "Pass the path of a file"),
    errno.EMFILE: ("too many open files", "Raise the limit (ulimit -n), or use fewer workers"),
}
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)  # places that one may not write to
LOOP = "Symlink loop from "  # a RuntimeError of pathlib before Python 3.13
ENDLESS = ("/dev/zero", "/dev/random", "/dev/urandom")  # devices that give bytes without end


class Parameter(str):
    """A parameter of the library, optionally with its value, as the `where` of an InputError.

    The command line shows it as the flag of that name; from Python it is the name of the argument.
    """

    def __new__(cls, name, value=None):
        parameter = super().__new__(cls, name if value is None else f"{name} {value}")
        parameter.name = name
        return parameter


class InputError(Exception):
    """An error that the user can fix: `what` is wrong, `where` (file, key or flag), and what to `do`.

    Shown as one line on stderr, `error: WHERE: WHAT. DO.`, with exit status 2 and no traceback.
    """

    def __init__(self, what, where=None, do=None):
        super().__init__(what)
        self.what, self.where, self.do = str(what), where, do

    def __str__(self):
        head = f"{visible(self.where)}: {self.what}" if self.where is not None else self.what
        sentences = [text.rstrip(" .") for text in (head, self.do and str(self.do)) if text]
        line = " ".join(text if text.endswith("?") else f"{text}." for text in sentences)
        return " ".join(line.split())


def visible(word):
    """Return a word as messages show it: a blank one in quotes."""
    return str(word) if str(word).strip() else repr(str(word))


def as_input_error(error, where=None):
    """Return the InputError for an OSError that the user can fix, or for memory that is not there, else None."""
    if _is_out_of_memory(error):
        return InputError("out of memory", where=where, do="Use smaller batches, images or a smaller network")
    if isinstance(error, RuntimeError) and str(error).startswith(LOOP):
        error = OSError(errno.ELOOP, "", str(error).removeprefix(LOOP).strip("'"))
    if not isinstance(error, OSError) or error.errno not in SYSTEM_ADVICE:
        return None
    what, do = SYSTEM_ADVICE[error.errno]
    where = where or error.filename or "a file"
    if error.errno in CLOSED and _is_in_cache(where):
        do = "Set GENPROBE_CACHE to a folder that you may write to"
    return InputError(what, where=where, do=do)


def _is_in_cache(where):
    from common.paths import cache_dir

    return str(where) == str(cache_dir()) or str(where).startswith(f"{cache_dir()}{os.sep}")


def _is_out_of_memory(error):
    """Return whether an error says so, in whatever words: torch and OpenCV have no class of it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if type(error).__module__ == "cv2":
        return "Insufficient memory" in str(error) or "bad_alloc" in str(error)
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def refuse_endless(path):
    """Raise InputError for a named pipe or a socket, which would be waited for without end, and for a disk or a device
    that never ends (/dev/zero). A shell's <(...), the standard streams, /dev/null and /dev/full may pass."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, TypeError, ValueError):  # not there, or no path at all: the reader says so
        return
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return
    place = os.path.realpath(path)
    if (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)) and not place.startswith(("/proc/", "/dev/")):
        raise InputError("is a pipe or a socket, not a file", where=path, do="Pass a file")
    if stat.S_ISBLK(mode) or stat.S_ISCHR(mode) and place in ENDLESS:
        raise InputError("is a device, not a file", where=path, do="Pass a file")


def closest(word, known):
    """Return the closest of the `known` words, whatever their case, or None when none is close."""
    from difflib import get_close_matches

    folded = {str(name).casefold(): str(name) for name in sorted(map(str, known), reverse=True)}
    found = get_close_matches(str(word).casefold(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def nearest(word, known, more=None):
    """Return `Did you mean X?` for the closest of the `known` words, or list them all when none is close.

    more: in place of the list, and after the question as well.
    """
    close = closest(word, known)
    if close:
        return f"Did you mean {close}?{f' {more}' if more else ''}"
    return more or f"Known: {', '.join(sorted(map(str, known)))}"
