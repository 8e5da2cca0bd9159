"""Train, sample and evaluate U-, C- and QC-NCSN++ score models."""

DESCRIPTION = "Quasi-conservative score models (QC-NCSN++): train, sample, evaluate, convert, compare."


def _lazy(module):
    def start(words):
        from importlib import import_module

        return import_module(f"tools.qc_ncsn.{module}").cli(words)

    return start


COMMANDS = {
    "train": ("train a U-, C- or QC-NCSN++", _lazy("train.command")),
    "sample": ("sample images: predictor-corrector, ODE, multistep, Heun", _lazy("sample.command")),
    "eval": ("nll | dsm | asym | encode | fidis | prdc | nfe", _lazy("evaluate.command")),
    "convert": ("checkpoint to safetensors and back", _lazy("convert")),
    "compare": ("compare runs: table, samples, curves", _lazy("compare.command")),
}


def cli(words=None):
    """Run the subcommand that the first word names and return its exit status."""
    from common.cli import dispatch

    return dispatch(COMMANDS, "qc_ncsn", DESCRIPTION, words)


if __name__ == "__main__":
    import signal

    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # Ctrl-C during the imports that follow leaves no traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from common.cli import leave

    leave(cli)
