"""`qc_ncsn eval`: one subcommand per evaluation."""

from common.cli import dispatch

DESCRIPTION = "Evaluate score models and their samples."


def _lazy(module):
    def start(words):
        from importlib import import_module

        name, _, function = module.partition(":")
        return getattr(import_module(f"tools.qc_ncsn.evaluate.{name}"), function or "cli")(words)

    return start


COMMANDS = {
    "nll": ("negative log-likelihood in bits/dim", _lazy("nll")),
    "dsm": ("denoising score matching loss by noise level", _lazy("dsm")),
    "asym": ("Asym and NAsym by noise level", _lazy("asym")),
    "encode": ("features of stored samples and of a data set", _lazy("encode")),
    "fidis": ("Frechet distance and Inception score of stored features", _lazy("stored_scores:cli_fidis")),
    "prdc": ("precision, recall, density and coverage of stored features", _lazy("stored_scores:cli_prdc")),
    "nfe": ("mean NFE of stored samples", _lazy("stored_scores:cli_nfe")),
}


def cli(words=None):
    """Run the evaluation that the first word names and return its exit status."""
    return dispatch(COMMANDS, "qc_ncsn eval", DESCRIPTION, words)
