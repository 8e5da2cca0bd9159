"""Flags of train_blobgan that stand for the original's own words: its configuration, its run folders, its W&B."""

from dataclasses import dataclass
from typing import Optional

from common import flags
from common.options import CommonOptions, option


@dataclass(kw_only=True)
class OriginalOptions(CommonOptions):
    """Flags for configurations, run folders and resuming as `src/run.py` has them."""

    config: Optional[str] = option(None, "YAML file of the original's keys, overridden by key=value words, which flags "
                                   "override", kind="how")
    max_images: Optional[int] = option(None, "train on this many images only, the first ones", low=1)
    every_n_epochs: int = option(0, "epochs between checkpoints, 0 for none; in addition to --every_n_train_steps",
                                 kind="how", low=0)
    log_dir: Optional[str] = option(None, "folder in which each new training makes its own, "
                                    "wandb/run-DATE_TIME-ID/files; instead of --output_dir", kind="how")
    resume_id: Optional[str] = option(None, "resume the run with this ID below --log_dir, or latest_run",
                                      kind="how")
    resume_step: Optional[int] = option(None, "start a new run from the checkpoint of this step",
                                        kind="how", low=0, type=flags.whole_number)
    resume_epoch: Optional[int] = option(None, "start a new run from the last checkpoint of this epoch",
                                         kind="how", low=0, type=flags.whole_number)
    resume_last: bool = option(True, "resume from the run's last state, in its folder; off: start a new run from "
                              "its last checkpoint", kind="how")
    resume_best: bool = option(False, "start a new run from the checkpoint with the lowest FID", kind="how")
    resume_model_only: bool = option(False, "start a new run from the weights alone: fresh moments, step 0", kind="how")
    resume_clobber_hparams: bool = option(False, "use the given flags where they differ from the run's own", kind="how")
    resume_log_dir: Optional[str] = option(None, "where to look for the run to resume (default: --log_dir)",
                                           kind="how")
    start_state: Optional[str] = option(None, "continue from this state.pth or checkpoint of train_blobgan, with its "
                                        "optimiser moments and step", kind="how")
    new_run: bool = option(False, "resume in a new folder below --log_dir, not in the run's own", kind="how")
    wandb_id: Optional[str] = option(None, "ID of a new run (default: eight random letters and digits)", kind="how")
    wandb_offline: bool = option(False, "W&B writes to disk only", kind="how")
    wandb_project: Optional[str] = option(None, "W&B project", kind="how")
    wandb_entity: Optional[str] = option(None, "W&B account", kind="how")
    wandb_group: Optional[str] = option(None, "W&B group", kind="how")
    wandb_name: Optional[str] = option(None, "W&B name of the run", kind="how")
