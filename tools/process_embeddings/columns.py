"""Columns of records as the page holds them: every value comes back as the text that it was."""

import base64
import json
import math

import numpy as np

WHOLE = 2**53  # whole numbers up to this one are exact as float64


def cell_text(value):
    """Return the text of a value in a table: "" for a missing one, JSON for lists and dictionaries."""
    return "" if value is None else json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def encode_column(values):
    """Return {"kind": "constant" | "number" | "text", ...} of a column's values (None or "": missing).

    A column is numbers where each of its texts is what Python writes for that number: whole ones, or floats. "1.10",
    "007", "1_000" and whole numbers beyond 2^53 are texts.  Texts that are numbers of both kinds have `values` beside.
    """
    words = [cell_text(value) for value in values]
    distinct = list(dict.fromkeys(words))
    if len(distinct) == 1:
        return {"kind": "constant", "value": distinct[0]}
    numbers = {word: _number(word) for word in distinct}
    numeric = all(number is not None for word, number in numbers.items() if word)
    if numeric and len({type(number) for number in numbers.values() if number is not None}) == 1:
        whole = any(isinstance(number, int) for number in numbers.values())
        data = [np.nan if numbers[word] is None else numbers[word] for word in words]
        return {"kind": "number", "data": pack(data, "<f8"), "whole": whole}
    place = {word: number for number, word in enumerate(distinct)}
    index = [] if len(distinct) == len(words) else [place[word] for word in words]
    column = {"kind": "text", "words": distinct, "index": pack(index, "<u4")}
    if numeric:
        column["values"] = pack([np.nan if numbers[word] is None else numbers[word] for word in distinct], "<f8")
    return column


def _number(word):
    """Return the int or float that Python writes as this text, or None."""
    for kind in (int, float):
        try:
            number = kind(word)
        except ValueError:
            continue
        exact = abs(number) <= WHOLE if kind is int else math.isfinite(number)
        if exact and str(number) == word:
            return number
    return None


def pack(array, dtype):
    """Return base64 text of an array's bytes in a dtype of explicit byte order."""
    return base64.b64encode(np.ascontiguousarray(array).astype(dtype).tobytes()).decode()
