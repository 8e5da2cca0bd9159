"""Importance of coordinates: their mean calibrated width, ranked."""

import numpy as np

from common.files import write_json
from tools.calibrate_rcps.tables import write_table


def run(context, options, folder):
    """Rank the coordinates of a level, of all with --compare_levels; return (results, files)."""
    folder.mkdir(parents=True, exist_ok=True)
    available = context.opened[context.place(options.difficulty_level)].count
    count = options.num_samples and min(options.num_samples, available)
    ranking = rank(context, context.place(options.difficulty_level), options.run_index, count)
    files = [write_table(folder / "importance_ranking.csv", ranking), folder / "importance_ranking.json"]
    found = {"difficulty_level": options.difficulty_level, "run_index": options.run_index, "num_samples": count,
             "ranking": ranking}
    write_json(files[1], found)
    if options.compare_levels:
        levels = {level: rank(context, place, options.run_index, count)
                  for place, (level, _, _) in enumerate(context.found)}
        files.append(folder / "importance_comparison.json")
        write_json(files[2], levels)
    return found, files


def rank(context, place, run_index, count=None):
    """Return the rows of a level, widest first, under the published names."""
    widths = context.widths(place, run_index, count)
    order = np.argsort(-widths, kind="stable")
    return [{"rank": number + 1, "dimension_index": int(context.stored.dims[column]), "select_index": int(column),
             "factor_name": str(context.stored.dim_names[column]), "importance_score": float(widths[column])}
            for number, column in enumerate(order)]
