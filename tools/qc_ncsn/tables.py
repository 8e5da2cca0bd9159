"""The tables of the evaluations as CSV."""

import csv
import io

from common.files import write_text


def write_table(path, rows):
    """Write rows of texts and numbers as CSV (RFC 4180, but lines end in \\n): numbers in full, None as nothing."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    write_text(path, stream.getvalue())
