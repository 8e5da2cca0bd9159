"""Errors that the user can mend, and the one line in which they are shown."""

import errno

# What the operating system says when a place cannot be written or read, and what the user can do about it.
SYSTEM_ADVICE = {
    errno.ENOSPC: ("no space left on the disk",
                   "Free some space or choose another output folder, then run the same command again"),
    errno.EDQUOT: ("the disk quota is used up",
                   "Free some space or choose another output folder, then run the same command again"),
    errno.EROFS: ("the place is read-only", "Choose an output folder on a writable disk"),
    errno.EACCES: ("permission denied", "Check the permissions, or choose another place"),
    errno.EPERM: ("operation not permitted", "Check the permissions, or choose another place"),
    errno.ENOENT: ("no such file or folder", "Check the path"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "Check the path"),
    errno.EEXIST: ("a file of this name is in the way of a folder", "Choose another output folder"),
    errno.EFBIG: ("the file would be larger than the system allows", "Choose an output folder on another disk"),
    errno.EISDIR: ("this is a folder, a file was expected", "Name the file itself"),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter name"),
}


class Parameter(str):
    """A parameter of the library, with its value if that says more, as the `where` of an InputError.

    The command line shows it as the flag of that name; from Python it is the name of the argument.
    """

    def __new__(cls, name, value=None):
        parameter = super().__new__(cls, name if value is None else f"{name} {value}")
        parameter.name = name
        return parameter


class InputError(Exception):
    """Something that the user can mend: `what` is wrong, `where` (file, key or flag), and what to `do`.

    Shown as one line on stderr, `error: WHERE: WHAT. DO.`, with exit status 2 and no traceback.
    """

    def __init__(self, what, where=None, do=None):
        super().__init__(what)
        self.what, self.where, self.do = str(what), where, do

    def __str__(self):
        head = f"{self.where}: {self.what}" if self.where is not None else self.what
        sentences = [text.rstrip(" .") for text in (head, self.do and str(self.do)) if text]
        line = " ".join(text if text.endswith("?") else f"{text}." for text in sentences)
        return " ".join(line.split())


def as_input_error(error, where=None):
    """Return the InputError that stands for an OSError the user can mend, or None when it is not one of those."""
    if not isinstance(error, OSError) or error.errno not in SYSTEM_ADVICE:
        return None
    what, do = SYSTEM_ADVICE[error.errno]
    return InputError(what, where=where or error.filename or "a file", do=do)


def nearest(word, known):
    """Return `Did you mean X?` for the closest of the `known` words, or a list of them when none is close."""
    from difflib import get_close_matches

    known = sorted(str(name) for name in known)
    close = get_close_matches(str(word), known, n=1, cutoff=0.6)
    return f"Did you mean {close[0]}?" if close else f"Known: {', '.join(known)}"
