"""What the page of a folder of runs says first of an evaluation: see common.summary."""

from common.numerals import counted
from common.summary import Quantity, figures, summary

ALL = "all"  # the entry of all attributes together


def _share(key, name, better="higher"):
    return Quantity(key, name, "%", better, low=f"{key}_low", high=f"{key}_high", scale=100)


def _mean(key, name):
    return Quantity(key, name, better="lower", half=f"{key}_error")


MEASURES = (_share("success", "flip rate"), _share("oracle_flip", "oracle agreement"),
            _share("truth", "flips confirmed by the truth"), _share("kept", "other decisions kept"),
            _mean("perceptual", "perceptual distance"), _mean("lpips", "LPIPS"), _mean("l1", "L1"),
            _mean("blobs_changed", "blobs changed"), Quantity("fid", "FID", better="lower"),
            Quantity("frechet", "Fréchet distance", better="lower"))
RECONSTRUCTION = (Quantity("lpips", "LPIPS", better="lower"),
                  Quantity("perceptual", "perceptual distance", better="lower"), Quantity("l1", "L1", better="lower"),
                  Quantity("l2", "L2", better="lower"),
                  Quantity("agreement", "decisions kept", "%", "higher", scale=100),
                  Quantity("fid", "FID", better="lower"), Quantity("frechet", "Fréchet distance", better="lower"),
                  Quantity("quality_images", "images"))
MOST = 12  # measures of a comparison


def evaluation(results):
    """Summarise `evaluate_cf`: a row for each attribute and one for all."""
    found = results["attributes"]
    rows = [(name, _of(name, entry)) for name, entry in found.items() if name != ALL or len(found) > 2]
    all_pairs = figures(found[ALL], MEASURES) if ALL in found else []
    return summary("Counterfactuals: decisions flipped by a small change", rows, "measurement",
                   sentence=_sentence(results["pairs"], all_pairs))


def _of(name, entry):
    """Return the figures of an attribute: runs are better and worse over all, attributes are not among themselves."""
    own = figures(entry, MEASURES)
    return own if name == ALL else [{**figure, "better": ""} for figure in own]


def _sentence(pairs, all_pairs):
    from common.numerals import measured

    if not all_pairs:
        return ""
    texts = [f"{one['name']} {measured(one['value'], one.get('se'), one.get('low'), one.get('high'))} {one['unit']}"
             for one in all_pairs[:4]]
    return f"Of all {counted(pairs, 'pair')} of image and decision: " + ", ".join(text.strip() for text in texts) + "."


def reconstructions(results):
    """Summarise `evaluate_cf encoder` and `inversion`."""
    return summary("Reconstructions of images from their layouts", [("", figures(results, RECONSTRUCTION))],
                   "measurement")


def comparison(results):
    """Summarise `evaluate_cf compare`: a row for each measure, over all attributes."""
    rows = []
    for name, entry in list(results["attributes"][ALL].items())[:MOST]:
        rows.append((name.replace("_", " "), figures(entry, (
            Quantity("a", "A"), Quantity("b", "B"), Quantity("difference", "B minus A", low="low", high="high")))))
    return summary("Two sets of counterfactuals on the same pairs", rows, "comparison")
