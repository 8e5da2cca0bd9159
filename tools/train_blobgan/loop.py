"""One training in one folder: what it starts from, its step, its files and its results."""

from collections import deque
from pathlib import Path

import numpy as np
import torch

from common import console, parallel
from common.errors import InputError
from common.files import remove_leftovers
from common.images.grids import save_grid, viewing_scale
from common.training.ema import Average
from common.training.keep import Periodic
from common.training.log import Log
from common.training.loop import Loop, Plan, Skipped
from common.training.state import TrainingState
from tools.train_blobgan.batches import Batches
from tools.train_blobgan.networks import new_networks
from tools.train_blobgan.optimisers import make_optimisers
from tools.train_blobgan.pictures import draw_samples, fixed_codes
from tools.train_blobgan.step import GanStep

RECENT = 50  # steps whose mean losses are the result
REALS = 64  # images in reals.png, at most
ADVICE = "Use a smaller --lr, a larger --lambda_D_R1, or --precision fp32"
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
        self.log = Log(self.folder, options.tensorboard, options.wandb)
        self.done, self.recent, self.skipped = 0, deque(maxlen=RECENT), Skipped()
        if not overwrite and self.state_path.exists():
            self._resume()

    @property
    def state_path(self):
        """The file that a killed run resumes from."""
        return self.folder / "state.pth"

    def _resume(self):
        self.done, extra = self.state.load(self.state_path, "Use the flags of that training, another --output_dir, or "
                                           "--overwrite to start over")
        if self.done > self.options.max_steps:
            raise InputError(f"this run is already at step {self.done:,}",
                             where=f"--max_steps {self.options.max_steps}",
                             do="Use a larger number, another --output_dir, or --overwrite to start over")
        self.recent.extend(extra["recent"])
        self.skipped, self.step.last_r1 = Skipped(*extra["skipped"]), extra["last_r1"]
        console.say(f"resuming from {self.state_path} (step {self.done:,})")

    def loop(self):
        """Run the remaining steps and return the results."""
        options = self.options
        for name in ("checkpoints", "samples") if parallel.is_main() else ():
            remove_leftovers(self.folder / name)  # what a killed run was writing
        self.show_reals()
        plan = Plan(1, options.max_steps, options.batch_size, options.log_every_n_steps, (options.state_every,),
                    options.accumulate, options.num_workers, patience=options.max_bad_steps)
        self.trainer = Loop(plan, self.batches.draw, self._step, self._save, self.log, self.optimisers,
                            products=self._products(), device=self.device, advice=ADVICE, done=self.done,
                            saved=self.done or None, shown=SHOWN, skipped=self.skipped)
        self.trainer.run()
        return self._conclude()

    def _step(self, step, parts):
        values = self.step(self.trainer, step, parts)
        self.recent.append([values[name] for name in SHOWN])
        return values

    def _save(self, step):
        skipped = self.trainer.skipped
        self.state.save(self.state_path, step, {"recent": [list(row) for row in self.recent],
                                                "skipped": [skipped.total, skipped.in_a_row],
                                                "last_r1": self.step.last_r1})

    def show_reals(self):
        """Write the first images as the discriminator sees them."""
        path = self.folder / "reals.png"
        if parallel.is_main() and not (path.exists() and self.done):
            count = min(self.options.batch_size, REALS)
            pixels = self.batches.rows.pixels(1, 0, count)[0]
            save_grid(path, pixels, columns=min(count, 8), scale=viewing_scale(self.config.resolution))

    def _products(self):
        """Return the periodic outputs: checkpoints and pictures."""
        options = self.options
        return [Periodic(options.log_images_every_n_steps, lambda step: self.folder / "samples" / f"step_{step}.png",
                         lambda path, step: self._draw(path))]

    def _draw(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        z = fixed_codes(self.options.seed, self.options.n_ema_sample, self.options.noise_dim)
        pairs = [(self.averaged["layout_net_ema"], self.averaged["generator_ema"]),
                 (self.networks["layout_net"], self.networks["generator"])]
        draw_samples(path, pairs, z.to(self.device, self.step.dtype))

    def _conclude(self):
        """Write the last checkpoint and pictures, and return the results."""
        options, results = self.options, {}
        if parallel.is_main():
            last = self.folder / "samples" / f"step_{options.max_steps}.png"
            if not last.exists():
                self._draw(last)
            losses = np.mean(self.recent, axis=0) if self.recent else [float("nan")] * 2
            results = {"steps": options.max_steps, "loss_G": float(losses[0]), "loss_D": float(losses[1]),
                       "parameters": {name: sum(parameter.numel() for parameter in network.parameters())
                                      for name, network in self.networks.items()},
                       "images": len(self.images), "damaged": len(self.images.damaged),
                       "skipped_steps": self.trainer.skipped.total,
                       "images_per_second": self.trainer.images_per_second}
            self._say(results)
        parallel.barrier()
        return results

    def _say(self, results):
        console.show_table(str(self.folder), ["steps", "loss G", "loss D", "parameters", "images/s"],
                           [[f"{results['steps']:,}", f"{results['loss_G']:.3f}", f"{results['loss_D']:.3f}",
                             f"{sum(results['parameters'].values()):,}", f"{results['images_per_second']:.3g}"]])
        if results["damaged"]:
            console.say(f"warning: {results['damaged']:,} unreadable images were replaced by other draws")
