"""One training in one folder: what it starts from, its step, its files and its results."""

import math
from collections import deque
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from common import console, parallel
from common.errors import InputError, as_input_error
from common.files import remove_leftovers
from common.images.grids import save_grid, viewing_scale
from common.networks.blobgan.files import checkpoint_name, write_checkpoint, write_pair
from common.numerals import counted
from common.training.ema import Average
from common.training.keep import FID, Checkpoints, Periodic
from common.training.log import Log
from common.training.loop import Loop
from common.training.plan import Plan, Skipped
from common.training.state import TrainingState, interned, on_cpu
from tools.train_blobgan.anomalies import Anomalies
from tools.train_blobgan.batches import Batches
from tools.train_blobgan.fid import Fid, wants_fid
from tools.train_blobgan.networks import new_networks
from tools.train_blobgan.optimisers import make_optimisers
from tools.train_blobgan.parts import fitting_parts, split_rows
from tools.train_blobgan.pictures import draw_samples, fixed_codes, spread
from tools.train_blobgan.run_files import is_run_folder, write_run_files
from tools.train_blobgan.start import checked_extra, load_state, load_weights
from tools.train_blobgan.step import GanStep
from tools.train_blobgan.watch import Watch

RECENT = 50  # steps whose mean losses are the result
REALS = 64  # images in reals.png, at most
ADVICE = "Use a smaller --lr, a larger --lambda_D_R1, or --precision fp32"
PAIR = ".safetensors"
SHOWN = ("train/G", "train/total_loss_D")


class BlobGANTraining:
    """One run in one folder. Making one checks what it starts from; `loop` does the work.

    config: BlobGANConfig.  images: PreparedImages.  overwrite: ignore the folder's earlier state.  done: steps
    completed.
    """

    def __init__(self, options, config, images, device, overwrite=False):
        self.options, self.config, self.images, self.device = options, config, images, device
        self.folder = Path(options.output_dir)
        self.networks, self.averaged = new_networks(config, options.seed, device)
        self.optimisers = make_optimisers(self.networks, options, device)
        averages = {name: Average(self.networks[name.removesuffix("_ema")].parameters(), options.ema_decay,
                                  network.parameters()) for name, network in self.averaged.items()}
        self.state = TrainingState(self.networks, self.optimisers, averages)
        self.step = GanStep(self.networks, list(averages.values()), options, device)
        self.batches = Batches(images, options, self.step.map_shapes)
        self.log = Log(self.folder, options.tensorboard, wandb_settings(options))
        self.fid = Fid(options, config, self.averaged, device) if wants_fid(options) else None
        self.done, self.recent, self.skipped, self.watch = 0, deque(maxlen=RECENT), Skipped(), Watch()
        self.scores, self.saved = {}, None  # FID by step, of those that are needed still; the step of state.pth
        self.checkpoints = self._checkpoints()
        if not overwrite and self.state_path.exists():
            self._resume()
        else:
            self._start()

    @property
    def state_path(self):
        """The file that a killed run resumes from."""
        return self.folder / "state.pth"

    def _start(self):
        """Take over what the flags name as a new training's start."""
        options = self.options
        if options.start_state is not None:
            self.done, extra = load_state(options.start_state, self.config, self.state, self.averaged)
            extra = None if extra is None else checked_extra(extra, options.start_state)
            self._take_over(extra, options.start_state)
        elif options.start_weights is not None:
            load_weights(options.start_weights, self.config, self.networks, self.averaged)

    def _resume(self):
        self.done, extra = self.state.load(self.state_path, "Use the flags of that training, another --output_dir, or "
                                           "--overwrite to start over")
        extra = checked_extra(extra, self.state_path)
        self._take_over(extra, self.state_path)
        self.saved, self.scores = self.done, extra["scores"]
        self.checkpoints.restore(extra["checkpoints"], self.done)

    def _take_over(self, extra, path):
        """Take over what a state has beside weights and moments; extra: None where it has nothing."""
        if self.done > self.options.max_steps:
            raise InputError(f"this run is already at step {self.done:,}",
                             where=f"--max_steps {self.options.max_steps}",
                             do="Use a larger number, another --output_dir, or --overwrite to start over")
        if extra is not None:
            self.recent.extend(extra["recent"])
            self.skipped, self.step.last_r1 = Skipped(*extra["skipped"]), extra["last_r1"]
            self.watch.right = extra["right"]
        console.say(f"resuming from {path} (step {self.done:,})")

    def loop(self):
        """Run the remaining steps and return the results."""
        options = self.options
        for name in ("checkpoints", "samples") if parallel.is_main() else ():
            remove_leftovers(self.folder / name)  # what a killed run was writing
        if is_run_folder(self.folder) and parallel.is_main():
            write_run_files(self.folder, options, self.networks)
        self._prepare_images()
        self.show_reals()
        if self.fid is not None:
            self.fid.prepare()
            self._say_ranked()
        explain = Anomalies(self.networks).found if options.detect_anomalies else None
        plan = Plan(1, options.max_steps, options.batch_size, options.log_every_n_steps, (options.state_every,),
                    options.accumulate, options.num_workers, log_memory=True, patience=options.max_bad_steps)
        self.trainer = Loop(plan, self.batches.draw, self._step, self._save, self.log, self.optimisers,
                            products=[self.checkpoints, self._samples()], evaluate=(self._fid_due, self._measure),
                            device=self.device, advice=ADVICE, done=self.done, saved=self.saved, shown=SHOWN,
                            skipped=self.skipped, explain=explain,
                            rows=lambda batch, parts: split_rows(batch, parts, options.stddev_rows))
        with self._enough_memory():
            self.trainer.run()
        return self._conclude()

    @contextmanager
    def _enough_memory(self):
        """Turn a lack of memory into an InputError that names the next number of parts."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if as_input_error(error) is None or isinstance(error, OSError):
                raise
            options = self.options
            more = options.accumulate + 1
            fitting = fitting_parts(options.batch_size, options.stddev_rows, parallel.world_size())
            do = f"Pass --accumulate {more}" if more in fitting else "Pass --recompute, or a smaller --batch_size"
            raise InputError("out of memory", where=f"--accumulate {options.accumulate}", do=do) from error

    def _step(self, step, parts):
        values = self.step(self.trainer, step, parts)
        self.recent.append([values[name] for name in SHOWN])
        self.watch.judge(step, values)
        return values

    def _save(self, step):
        skipped = self.trainer.skipped
        self.state.save(self.state_path, step, {"recent": [list(row) for row in self.recent],
                                                "skipped": [skipped.total, skipped.in_a_row],
                                                "last_r1": self.step.last_r1, "right": self.watch.right,
                                                "scores": [list(item) for item in self.scores.items()],
                                                "checkpoints": self.checkpoints.stored()})

    def show_reals(self):
        """Write the first images as the discriminator sees them."""
        path = self.folder / "reals.png"
        if parallel.is_main() and not (path.exists() and self.done):
            count = min(self.options.batch_size, REALS)
            pixels = self.batches.rows.pixels(1, 0, count)[0]
            save_grid(path, pixels, columns=min(count, 8), scale=viewing_scale(self.config.resolution))

    def _prepare_images(self):
        """Make the pack that the flags ask for, and say what the images are like."""
        options = self.options
        for turn in (True, False):  # the main process makes it, the others open it
            if options.pack is not None and parallel.is_main() == turn:
                self.images.pack(options.pack, max(options.num_workers, 1))
            parallel.barrier()
        self.images.check()
        if parallel.is_main():
            self.images.note_changes()

    def _checkpoints(self):
        """Return the checkpoints that the flags ask for; the last step has one, too."""
        options = self.options

        def also_due(step):
            epochs = options.every_n_epochs
            ends = epochs and self.epoch(step) < self.epoch(step + 1) and (self.epoch(step) + 1) % epochs == 0
            return step == options.max_steps or ends

        return Checkpoints(options.every_n_train_steps, self.checkpoint_path, self._write_checkpoint,
                           options.save_top_k, options.monitor, options.mode, self.scores_of, also_due,
                           remove_checkpoint)

    def scores_of(self, step):
        """Return the FID of a step, None where none was measured."""
        return self.scores.get(step)

    def _samples(self):
        """Return the pictures of fixed noise."""
        every = self.options.log_images_every_n_steps
        return Periodic(every, lambda step: self.folder / "samples" / f"step_{step}.png", self._draw)

    def _measure(self, step):
        """Return the FID of the averaged networks after a step."""
        found = self.fid(step)
        self.scores = {step: found["train/fid"]}
        return found

    def _fid_due(self, step):
        """Return whether FID is to be measured after a step."""
        every = self.options.log_fid_every_n_steps
        ends = self.options.log_fid_every_epoch and self.epoch(step) < self.epoch(step + 1)
        return self.fid is not None and (every > 0 and step % every == 0 or ends)

    def _say_ranked(self):
        """Say which checkpoints have a FID to be ranked by, where not all of them have one."""
        every, fid = self.options.every_n_train_steps, self.options.log_fid_every_n_steps
        if self.options.monitor != FID or not every or (fid > 0 and every % fid == 0) or not parallel.is_main():
            return
        has = f"of steps that are multiples of {math.lcm(every, fid):,}" if fid > 0 else "at the end of an epoch"
        console.say(f"note: --monitor train/fid ranks the checkpoints {has} alone: no FID is measured of the others")

    def epoch(self, step):
        """Return the epoch, from 0, that a step's last image belongs to."""
        return (step * self.options.batch_size - 1) // len(self.images)

    def checkpoint_path(self, step):
        """Return the path of the checkpoint after a step."""
        return self.folder / "checkpoints" / checkpoint_name(self.epoch(step), step)

    def _write_checkpoint(self, path, step):
        """Write the networks in the published container."""
        path.parent.mkdir(parents=True, exist_ok=True)
        moments = [interned(on_cpu(optimiser.optimiser.state_dict())) for optimiser in self.optimisers.values()]
        epoch = self.epoch(step)
        if self.options.safetensors:
            write_pair(path.with_suffix(PAIR), self.config, *self.averaged.values(), epoch, step)
        write_checkpoint(path, self.config, self.networks | self.averaged, moments, epoch, step)

    def _draw(self, path, step):
        """Draw what fixed noise has become, and look whether it still makes different pictures."""
        path.parent.mkdir(parents=True, exist_ok=True)
        z = fixed_codes(self.options.seed, self.options.n_ema_sample, self.options.noise_dim)
        pairs = [(self.averaged["layout_net_ema"], self.averaged["generator_ema"]),
                 (self.networks["layout_net"], self.networks["generator"])]
        pictures = draw_samples(path, pairs, z.to(self.device, self.step.dtype))
        pixels = self.batches.rows.pixels(1, 0, min(self.options.batch_size, len(z)))[0]
        if len(pixels) > 1:
            real = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
            self.watch.compare(step, spread(pictures.cpu()), spread(real))

    def _conclude(self):
        """Write the last checkpoint and pictures, and return the results."""
        options, results = self.options, {}
        if parallel.is_main():
            last = self.folder / "samples" / f"step_{options.max_steps}.png"
            if not last.exists():
                self._draw(last, options.max_steps)
            losses = np.mean(self.recent, axis=0) if self.recent else [float("nan")] * 2
            results = {"steps": options.max_steps, "loss_G": float(losses[0]), "loss_D": float(losses[1]),
                       "parameters": {name: sum(parameter.numel() for parameter in network.parameters())
                                      for name, network in self.networks.items()},
                       "images": len(self.images), "damaged": len(self.images.damaged),
                       "skipped_steps": self.trainer.skipped.total,
                       "images_per_second": self.trainer.images_per_second,
                       "checkpoint": str(self.checkpoint_path(options.max_steps)), **self._best()}
            self._say(results)
        parallel.barrier()
        return results

    def _best(self):
        """Return {best_checkpoint, fid} of the checkpoint with the lowest FID, {} where none was measured."""
        best = self.checkpoints.best()
        fid = self.checkpoints.scores.get(best)
        return {} if fid is None else {"best_checkpoint": str(self.checkpoint_path(best)), "fid": fid}

    def _say(self, results):
        console.show_table(str(self.folder), ["steps", "loss G", "loss D", "parameters", "images/s"],
                           [[f"{results['steps']:,}", f"{results['loss_G']:.3f}", f"{results['loss_D']:.3f}",
                             f"{sum(results['parameters'].values()):,}", f"{results['images_per_second']:.3g}"]])
        if results["damaged"]:
            console.say(f"warning: {results['damaged']:,} unreadable images were replaced by other draws")
        if results["skipped_steps"]:
            skipped = counted(results["skipped_steps"], "step")
            console.say(f"warning: skipped {skipped} whose numbers were not finite")
        console.say(f"next: python -m tools.generate_blobgan {results.get('best_checkpoint', results['checkpoint'])} "
                    "-n 16 --save_blobs")


def wandb_settings(options):
    """Return the settings of the W&B run that the flags ask for, False for none."""
    if not options.wandb:
        return False
    names = ("project", "name", "group", "entity", "id")
    return {**{name: getattr(options, f"wandb_{name}") for name in names},
            "mode": "offline" if options.wandb_offline else None}


def remove_checkpoint(path):
    """Remove a checkpoint and the averaged networks beside it."""
    path.unlink(missing_ok=True)
    path.with_suffix(PAIR).unlink(missing_ok=True)
