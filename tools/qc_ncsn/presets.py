"""The presets of qc_ncsn, as `python -m tools presets` lists them; the configurations are in common/score/config.py."""

from common.score.config import PRESETS

FLAG = "--config"
__all__ = ["FLAG", "PRESETS"]
