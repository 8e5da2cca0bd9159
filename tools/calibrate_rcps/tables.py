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


def write(folder, figures):
    """Write table_NAME.csv for {name: rows}, but for empty ones; return the paths."""
    return [write_table(folder / f"table_{name}.csv", rows) for name, rows in figures.items() if rows]


def write_bounds(folder, rows):
    """Write table_bounds.csv, show it, and return its path."""
    columns = ["bound", "lambda", "risk", "mean width", "note"]
    several = len({row["group"] for row in rows}) > 1
    console.show_table("Bounds", columns, [
        (f"{row['bound']} {row['group']}" if several else row["bound"], numbers(row["lambda_hat"]),
         number(row["risk_calibration"]), number(row["width"]), row["note"]) for row in rows])
    return write_table(folder / "table_bounds.csv", rows)


def show_results(results):
    """Print the table of levels, that of several alphas, the promise, and what it does not say."""
    from tools.calibrate_rcps.report import percent

    columns = ["level", "images", "lambda", "risk before", "risk after", "test risk", "width before", "width after",
               "crossed"]
    rows = [(row["level"], row["num_images"], numbers(row["lambda_hat"]), number(row["risk_uncalibrated"]),
             number(row["risk_calibrated"]), spread(row["test_risk_mean"], row["test_risk_sd"]),
             number(row["width_uncalibrated"]), number(row["width_calibrated"]), percent(row["crossed"]))
            for row in results["levels"]]
    console.show_table(f"Calibration at alpha {results['alpha']:g}, bound {results['bound']}", columns, rows)
    if results["alphas"]:
        console.show_table("Several alphas", ["alpha", "levels", "lambda", "test risk"], [
            (f"{row['alpha']:g}", row["group"], numbers(row["lambda_hat"]), number(row["test_risk_mean"]))
            for row in results["alphas"]])
    console.say(f"promise: {results['promise']}")
    for note in notes(results):
        console.say(f"note: {note}.")


def notes(results):
    """Return what the promise does not say: of single levels, of truths that no lambda covers, of the splits."""
    from tools.calibrate_rcps.report import percent

    found = []
    if {*results["lambda_hat"]} <= {"mean", "pooled"}:
        found += [f"level {row['level']} by itself has a risk of {row['risk_calibrated']:.3f}: where an image's level "
                  "is known, calibrate with --levels_as each_together"
                  for row in results["levels"] if row["risk_calibrated"] > results["alpha"]]
    found += [f"no lambda covers {percent(row['floor'])} of the truths of level {row['level']}: its quantiles cross"
              for row in results["levels"] if row["floor"] > 0]
    errors = [value for value in results["test_risk_se"].values() if value is not None]
    scatter = f", with a standard error of {max(errors):.2g}" if errors else ""
    return [*found, f"test risks of random splits scatter because the test images are few{scatter}: they show the "
            "spread of lambda and do not test the promise, which `calibrate_rcps simulate` and fresh images do"]


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
