"""What the page of a folder of runs says first of activations: see common.summary."""

from common.summary import Quantity, summariser

generate = summariser("Activations of generated images", Quantity("num_samples", "images"),
                      Quantity("network_calls", "network calls"), Quantity("images_per_second", "speed", "images/s"))
