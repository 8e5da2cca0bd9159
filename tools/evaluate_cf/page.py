"""cf.html: a self-contained page of an evaluation, with the numbers, what changes with each decision, and the pairs."""

import json
import re
from html import escape
from importlib.resources import files

import numpy as np

from common.console import shown
from common.files import plain, write_text
from common.networks.blobgan.layout import Blobs
from tools.evaluate_cf.gallery import GROWN, MOVED, difference_uri
from tools.evaluate_cf.summary import cell, table

SHOWN_BLOBS = 8  # of each direction, the most often changed first
RARE = 0.05  # share of the flips below which a blob's changes are not listed
FACTS = (("l1", "L1"), ("lpips", "LPIPS"), ("perceptual", "perceptual"), ("evaluations", "evaluations"),
         ("redundancy", "redundant blobs"), ("cout", "COUT"))


def write_page(path, material, results, lines, changes, gallery):
    """Write the page."""
    folder, names = material.folder, list(material.explained.names)
    summary = results["attributes"]
    success = cell(summary["all"], "success") or "none"
    parts = {
        "TITLE": escape(shown(title_of(folder.path, names, material.options.sparse))),
        "LEAD": escape(shown(f"{results['images']:,} images, {results['pairs']:,} pairs; success {success}. Explained: "
                             f"{material.explained.description['kind']}, {', '.join(names)}.")),
        "NUMBERS": _table(*table(summary)),
        "CHANGES": "".join(_change(names, key, change, lines) for key, change in sorted(changes.of.items()))
        or "<p>No decision flipped.</p>",
        "LEFT": f"{gallery.left:,} more pairs have no pictures here (--page_pairs)." if gallery.left else "",
        "DATA": _data(names, gallery)}
    page = files(__package__) / "page"
    parts |= {"CSS": (page / "cf.css").read_text(encoding="utf-8"),
              "SCRIPT": (page / "cf.js").read_text(encoding="utf-8")}
    text = (page / "cf.html").read_text(encoding="utf-8")
    write_text(path, re.sub(r"%([A-Z]+)%", lambda match: parts[match[1]], text))


def title_of(place, names, sparse):
    """Return the title of a page: what is explained, which version, and where it lies."""
    several = ", ".join(names[:4]) + ", ..." * (len(names) > 4)
    return f"Counterfactuals of {several}{'' if sparse else ', before sparsifying'} ({place.resolve().name})"


def _data(names, gallery):
    """Return the pairs as JSON that no tag can end."""
    pairs = [{"image": pair["image"], "attribute": line["attribute"], "target": line["target"],
              "number": line["number"], "outcome": line["outcome"], "on_real": line.get("flip_on_real"),
              "l1": line["l1"], "blobs_changed": line["blobs_changed"], "before": line["scores_before"],
              "after": line["scores_after"], "picture": pair["after"], "difference": pair["difference"],
              "real": pair["real"], "moved": pair["moved"],
              "facts": [f"{word} {line[name]:.3g}" for name, word in FACTS if line.get(name) is not None]
              + _known(line)}
             for pair in gallery.pairs for line in (pair["line"],)]
    content = {"names": names, "aspect": gallery.aspect, "moved": MOVED, "grown": GROWN,
               "images": gallery.images, "pairs": pairs}
    return json.dumps(plain(content), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _known(line):
    """Return what oracle and truth say of a pair."""
    found = [f"oracle: {'flip' if line['oracle_flip'] else 'no flip'}"] if "oracle_flip" in line else []
    return found + ([f"truth: {'flip' if line['truth_flip'] else 'no flip'}"] if "truth_flip" in line else [])


def _table(columns, rows):
    head = "".join(f"<th>{escape(shown(name))}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(shown(text))}</td>" for text in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _change(names, key, change, lines):
    """Return the section of one attribute and direction: a sentence, a table of blobs, the mean difference."""
    attribute, wanted = key
    often, tensors, signed, picture = change.means()
    title = f"{names[attribute]} → {'yes' if wanted else 'no'}, {change.count:,} flips"
    moved = [name for name in Blobs._fields if tensors[name].any()]
    signed = {name: part for name, part in signed.items() if name in moved}
    rows = [[_blob(number), f"{often[number]:.2f}", *(_number(signed[name][number]) for name in signed),
             *(_number(tensors[name][number], "") for name in moved)] for number in _most(often, tensors)]
    columns = ["blob", "changed in", *(f"mean {name}" for name in signed), *(f"|{name}|" for name in moved)]
    own = [line for line in lines if line["flip"] and line["attribute"] == attribute and line["target"] == wanted]
    sentence = _sentence(names, attribute, own, often)
    head, text = escape(shown(title)), escape(shown(sentence))
    return (f'<section class="change"><div><h3>{head}</h3><p>{text}</p>{_table(columns, rows)}'
            f'</div><figure class="broad"><img src="{difference_uri(picture)}" alt="mean difference of the pictures">'
            f"<figcaption>mean change of the pictures, largest {np.abs(picture).max():.3f} of 2</figcaption></figure>"
            "</section>")


def _most(often, tensors):
    """Return the blobs that change most: by how often, then by how much."""
    amount = sum(tensors.values())
    order = sorted(range(len(often)), key=lambda number: (-round(float(often[number]), 2), -float(amount[number])))
    return [number for number in order if often[number] > RARE][:SHOWN_BLOBS]


def _blob(number):
    return "background" if number == 0 else str(number - 1)


def _number(value, sign="+"):
    return f"{value:{sign}.3f}" if value else "0"


def _sentence(names, attribute, lines, often):
    """Return in words what goes with the flips: known measures first, then decisions, then blobs."""
    found = []
    measures = {name.removeprefix("measure_"): np.mean([line[name] for line in lines if name in line])
                for name in dict.fromkeys(name for line in lines for name in line) if name.startswith("measure_")}
    if measures:
        ranked = sorted(measures.items(), key=lambda each: -each[1])
        most = f"{ranked[0][0]} moves most towards the decision" if ranked[0][1] > 0 else "none moves towards it"
        found.append("Known measures, towards the decision, in gaps between both kinds of images: "
                     + ", ".join(f"{name} {value:+.2f}" for name, value in ranked) + f"; {most}.")
    for key, of in (("scores", "model"), ("oracle", "oracle")):
        own = [line for line in lines if f"{key}_before" in line]
        if not own:
            continue
        before, after = (np.array([line[f"{key}_{when}"] for line in own], dtype=float) for when in ("before", "after"))
        if before.shape[1] == len(names):
            shares = ((before > 0.5) != (after > 0.5)).mean(axis=0)
            others = [f"{names[place]} {shares[place]:.2f}" for place in np.argsort(-shares) if place != attribute]
            found.append(f"Share of other decisions of the {of} that change too: {', '.join(others) or 'none'}.")
    blobs = [f"{_blob(number)} ({often[number]:.2f})" for number in np.argsort(-often, kind="stable")[:3]
             if often[number] > 0]
    found.append(f"Blobs that change most often: {', '.join(blobs) or 'none'}.")
    return " ".join(found)
