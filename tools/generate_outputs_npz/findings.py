"""What the page of a folder of runs says first of an encoder's outputs: see common.summary."""

from common.summary import Quantity, summariser

encode = summariser("An encoder's intervals before calibration", Quantity("num_images", "images"),
                    Quantity("with_truth", "with truth"), Quantity("resize_factor", "resize factor"),
                    Quantity("num_dims", "coordinates"))
