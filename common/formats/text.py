"""Text files that people write: UTF-8, with or without the mark that some editors put in front."""

from pathlib import Path

from common.errors import InputError
from common.files import system_errors


def read_text(path):
    """Return the text of a file; InputError where it cannot be read or is not text."""
    with system_errors(path):
        try:
            return Path(path).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"not a text in UTF-8 ({error})", where=path, do="Save it as UTF-8") from error


def read_lines(path):
    """Return the lines of a text file that are not blank, without blanks at their ends."""
    return [line.strip() for line in read_text(path).split("\n") if line.strip()]
