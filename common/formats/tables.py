"""CSV tables: how every table here is written and read.

A text cell that a spreadsheet would take for a formula, which begins with = + - @ TAB or CR and is not a number, gets
an apostrophe in front, as spreadsheets themselves mark text; so does one that begins with apostrophes before such a
sign. `read_table` takes one apostrophe off again, so that our own tables come back as they were.
"""

import csv
import io
import re

from common.errors import InputError
from common.files import system_errors, write_bytes

FORMULA = re.compile(r"'*[=+\-@\t\r]")
ESCAPED = re.compile(r"'+[=+\-@\t\r]")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(inf|nan)", re.ASCII)


def cell_text(value):
    """Return the text of a cell that no spreadsheet takes for a formula. None becomes empty."""
    text = "" if value is None else str(value)
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def table_text(header, rows):
    """Return a CSV table; header: the first row, or None."""
    lines = (",".join(map(_quoted, row)) for row in (rows if header is None else [header, *rows]))
    return "".join(f"{line or _quoted('', True)}\n" for line in lines)


def _quoted(value, always=False):
    """Return a cell as it stands in a line; the library's writer leaves a lone CR without quotes."""
    text = cell_text(value)
    return '"' + text.replace('"', '""') + '"' if always or re.search(r'[,"\r\n]', text) else text


def write_table(path, header, rows):
    """Write a CSV table in UTF-8, atomically; header: the first row, or None."""
    write_bytes(path, table_text(header, rows).encode(errors="backslashreplace"))


def read_table(path):
    """Return the rows of a CSV file as lists of text, empty lines left out.

    Raises InputError naming a file that is missing, no UTF-8 text, or no table.
    """
    with system_errors(path), open(path, "rb") as stream:
        data = stream.read()
    try:
        text = data.decode("utf-8-sig")
        rows = [list(map(_plain, row)) for row in csv.reader(io.StringIO(text, newline="")) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"not a table in UTF-8 ({error})", where=path, do="Save it as CSV in UTF-8") from error
    return rows


def read_records(path):
    """Return (column names, [{column: text}]) of a CSV file with a header; cells that a row lacks are None.

    Raises InputError for two columns of one name, and for a row with more cells than there are columns. What
    spreadsheets write around a table does not count: columns without a name, empty cells at the end, rows of them.
    """
    names, *rows = [row for row in read_table(path) if any(row)] or [[]]
    repeated = next((name for place, name in enumerate(names) if name and name in names[:place]), None)
    if repeated is not None:
        raise InputError(f"two columns are called '{repeated}'", where=path, do="Rename one")
    for number, row in enumerate(rows, 1):
        if any(row[len(names) :]):
            raise InputError(f"row {number} has {len(row)} cells, the header {len(names)}", where=path,
                             do="Correct the table, and quote cells that hold a comma")
    return names, [dict(zip(names, [*row, *[None] * (len(names) - len(row))])) for row in rows]


def _plain(cell):
    return cell[1:] if ESCAPED.match(cell) else cell
