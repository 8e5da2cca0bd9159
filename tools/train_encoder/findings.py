"""What the page of a folder of runs says first of a training: see common.summary."""

from common.summary import Quantity, summariser

QUANTITIES = (Quantity("best_held_out_loss", "held-out loss", better="lower"),
              Quantity("lpips", "LPIPS", better="lower"), Quantity("perceptual", "perceptual distance", better="lower"),
              Quantity("l1", "L1", better="lower"),
              Quantity("agreement", "decisions kept", "%", "higher", scale=100), Quantity("steps", "steps"))

train = summariser("Training of a layout encoder", *QUANTITIES,
                   pictures=[["step_*.jpg", "images above their reconstructions"]])
