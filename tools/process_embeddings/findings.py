"""What the page of a folder of runs says first of a map: see common.summary."""

from common.summary import Quantity, figures, summary

OF_A_PAIR = tuple(Quantity(key, name, low=f"{key}_low", high=f"{key}_high") for key, name in (
    ("auc", "AUC of a classifier"), ("own_neighbours", "nearest neighbour in the same set"),
    ("own_neighbours_map", "the same in the map")))
OF_THE_MAP = (Quantity("trustworthiness", "trustworthiness of the map", better="higher"),
              Quantity("class_purity", "neighbours of the same class"), Quantity("num_samples", "samples"))


def describe(title, picture):
    """Return what summarises a map of this title, whose picture lies beside its record."""
    def summarise(results):
        rows = [(f"{title}: {pair['a']} / {pair['b']}" if title else f"{pair['a']} / {pair['b']}",
                 figures(pair, OF_A_PAIR)) for pair in results["pairs"]]
        rows = [row for row in rows if row[1]]
        what = "How well sets of activations can be told apart (AUC 0.5: not at all)" if rows else \
            "Map of a set of activations"
        return summary(what, rows or [("", figures(results, OF_THE_MAP))], "measurement",
                       pictures=[[picture, f"map: {title or ', '.join(results['sets'])}"]])

    return summarise
