"""Tables of a calibration, for the screen and as csv."""

from common import console
from common.formats import tables


def write_table(path, rows):
    """Write rows (dictionaries of one set of keys) as csv; a list of one is its entry, None an empty cell."""
    tables.write_table(path, list(rows[0]), [map(_cell, row.values()) for row in rows])
    return path


def _cell(value):
    if isinstance(value, list):
        return " ".join(str(_cell(each)) for each in value)
    return "" if value is None else value


def write(folder, figures, by_alpha):
    """Write table_levels, table_dims, table_quarters, table_runs and, for several alphas, table_alphas; return the
    paths."""
    outputs = [write_table(folder / f"table_{name}.csv", rows) for name, rows in figures.items() if rows]
    if len(by_alpha) > 1:
        outputs.append(write_table(folder / "table_alphas.csv", [row for rows in by_alpha.values() for row in rows]))
    return outputs


def write_bounds(folder, rows):
    """Write table_bounds.csv, show it, and return its path."""
    columns = ["bound", "lambda", "risk", "mean width", "note"]
    several = len({row["group"] for row in rows}) > 1
    console.show_table("Bounds", columns, [
        (f"{row['bound']} {row['group']}" if several else row["bound"], numbers(row["lambda_hat"]),
         number(row["risk_calibration"]), number(row["width"]), row["note"]) for row in rows])
    return write_table(folder / "table_bounds.csv", rows)


def show_results(results):
    """Print the table of levels and the promise."""
    from tools.calibrate_rcps.report import SPLITS_NOTE

    columns = ["level", "images", "lambda", "risk before", "risk after", "test risk", "width before", "width after",
               "crossed"]
    rows = [(row["level"], row["num_images"], numbers(row["lambda_hat"]), number(row["risk_uncalibrated"]),
             number(row["risk_calibrated"]), spread(row["test_risk_mean"], row["test_risk_sd"]),
             number(row["width_uncalibrated"]), number(row["width_calibrated"]), f"{100 * row['crossed']:.2g} %")
            for row in results["levels"]]
    console.show_table(f"Calibration at alpha {results['alpha']:g}, bound {results['bound']}", columns, rows)
    console.say(f"promise: {results['promise']}")
    console.say(f"note: {SPLITS_NOTE}.")


def number(value):
    """Return a number with four significant digits, a dash for None."""
    return "-" if value is None else f"{value:.4g}"


def numbers(values):
    """Return lambdas for people, rounded up to four decimals."""
    from tools.calibrate_rcps.report import rounded_up

    return "-" if values is None else " / ".join(f"{value:.4f}" for value in rounded_up(values))


def spread(mean, deviation):
    """Return mean +- standard deviation over runs."""
    return "-" if mean is None else f"{mean:.4f} ± {deviation:.4f}"
