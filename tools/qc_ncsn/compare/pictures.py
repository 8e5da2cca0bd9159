"""Samples, loss and asymmetry curves of several runs in one picture each."""

from tools.qc_ncsn.compare.measures import results_of


def draw_samples(path, works, count=32):
    """Draw the first stored samples of each run in a row of its own, under the run's name."""
    from common.files import read_npz
    from common.images.figures import save_figure
    from common.images.grids import make_grid

    rows = {}
    for name, work in works.items():
        files = work.sample_files() or work.sample_files(ode=True)
        if files:
            rows[name] = read_npz(files[0], required=("samples",))["samples"][:count]
    if not rows:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.4 * len(rows) + 0.3), dpi=130, layout="constrained")
    for axes, (name, pixels) in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows.items()):
        grid = make_grid(pixels, columns=16, padding=1)
        axes.imshow(grid[..., 0] if grid.shape[-1] == 1 else grid, cmap="gray", interpolation="nearest", vmin=0,
                    vmax=255)
        axes.set_title(name, fontsize=9, loc="left")
        axes.axis("off")
    save_figure(path, figure)
    return path


def draw_losses(path, works):
    """Draw the logged training loss of each run, and the regulariser where there is one."""
    from common.images.figures import new_figure, save_figure
    from common.training.log import read_log

    figure, axes = new_figure()
    drawn = False
    for name, work in works.items():
        logged = [(row["step"], row["loss"]) for row in read_log(work.json_log) if isinstance(row.get("loss"), float)]
        if logged:
            axes.plot(*zip(*logged), label=name, linewidth=1)
            drawn = True
    if not drawn:
        return None
    axes.set(xlabel="step", ylabel="denoising score matching loss", yscale="log")
    axes.legend(frameon=False)
    save_figure(path, figure)
    return path


def draw_levels(path, works, name):
    """Draw Asym or NAsym by noise level for each run that measured it."""
    from tools.qc_ncsn.pictures import level_curves

    measured = {run_name: results_of(work.asym) for run_name, work in works.items()}
    measured = {run_name: values for run_name, values in measured.items()
                if all(_is_curve(values.get(key)) for key in ("sigma", f"{name}_by_level", f"{name}_se_by_level"))}
    if not measured:
        return None
    curves = {run_name: (values[f"{name}_by_level"], values[f"{name}_se_by_level"]) for run_name,
              values in measured.items()}
    sigmas = next(iter(measured.values()))["sigma"]
    curves = {run_name: curve for run_name, curve in curves.items() if len(curve[0]) == len(curve[1]) == len(sigmas)}
    level_curves(path, sigmas, curves, {"asym": "Asym", "nasym": "NAsym"}[name], log=name == "asym")
    return path


def _is_curve(values):
    """Return whether a record's value is a list of numbers (None where one was not finite)."""
    return isinstance(values, list) and all(value is None or isinstance(value, (int, float)) for value in values)
