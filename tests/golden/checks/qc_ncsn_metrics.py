"""qc_ncsn's finished work folders: every figure the tool reads or computes from stored files."""

from tests.golden.registry import check


def stored_figures(folder, **prdc):
    """Return what `eval fidis` and `eval prdc` say of a work folder, and the mean NFE.  prdc: options of the second."""
    from tools.qc_ncsn.evaluate.stored_scores import (
        FidisOptions,
        PrdcOptions,
        measure_fidis,
        measure_prdc,
        open_pair,
        read_nfe,
    )
    from tools.qc_ncsn.work_dir import WorkDir

    values = read_nfe(WorkDir(folder))[0]
    for options, measure in ((FidisOptions(workdir=str(folder)), measure_fidis),
                             (PrdcOptions(workdir=str(folder), device="cpu", **prdc), measure_prdc)):
        values = {**values, **measure(*open_pair(options), options)}
    return values


@check("qc_ncsn/metrics_from_files")
def metrics_from_files(case):
    """FID, Inception score, PRDC, NLL, Asym, NAsym and NFE of the one work folder below the case's results folder."""
    from tools.qc_ncsn.evaluate.stored import read_asym, read_nll

    (folder,) = [path for path in case.file("results").resolve().iterdir() if path.is_dir()]
    values, nll, asym = stored_figures(folder), read_nll(folder / "nll"), read_asym(folder / "asym")
    return {
        **{name: values[name] for name in ("fid", "inception_score", "precision", "recall", "density", "coverage")},
        "nll_mean": nll["bits_per_dim"], "nll_nfe_mean": nll["nfe"], "asym_mean": asym["asym"],
        "nasym_mean": asym["nasym"], "avg_sampling_nfe": values["avg_nfe"],
    }
