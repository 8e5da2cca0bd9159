"""What the page of a folder of runs says first of a data set: see common.summary."""

from common.summary import Quantity, summariser

extract = summariser("Tiles of photos", Quantity("photos", "photos"), Quantity("tiles", "tiles"),
                     Quantity("num_skipped", "photos skipped"),
                     Quantity("bytes_written", "written", "MB", scale=1e-6),
                     pictures=[["preview.png", "where the tiles are"]])
