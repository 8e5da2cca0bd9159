"""What the page of a folder of runs says first of activations: see common.summary."""

from common.summary import Quantity, summariser

extract = summariser("Activations of real images", Quantity("num_samples", "images"),
                     Quantity("left_out", "left out"), Quantity("images_per_second", "speed", "images/s"))
