"""Which files the tables want at paper scale, how large they are and where they come from.

    python -m docs.chains.parts.wanted TABLE

Looks below the folders of the variables DATA and CHECKPOINTS, prints a line for each file, and ends with status 2 when
one is missing. Sizes are of the published files where these are known ("about": parameters times their bytes).
"""

import os
import sys
from pathlib import Path

CIFAR = ("DATA", "cifar-10-batches-py", "178 MB", "cs.toronto.edu/~kriz/cifar.html, cifar-10-python.tar.gz unpacked")
STATISTICS = ("DATA", "dataset_stat.npz", "about 0.4 GB", "the authors of QC-NCSN++ publish it with their code")
SCORE = [("CHECKPOINTS", f"{family}.pth", "about 1.7 GB", where) for family, where in (
    ("u", "published as u-ncsn++/checkpoint.pth"),
    ("qc", "not published: qc_ncsn train --config qc_cifar10 --restore u.pth"),
    ("c", "not published: qc_ncsn train --config c_cifar10"))]
OUTPUTS = [("DATA", f"super_resolution/data/calibration_set_outputs_generated_data/{factor}/outputs.npz", "291 MB",
            "generate_outputs_npz on 2,000 images of generate_ffhq, with the published superres_alpha_0.1.pt")
           for factor in (1, 16, 32)]
OCTET = "OCTET's release, github.com/valeoai/OCTET"
BLOBGAN = ("CHECKPOINTS", "blobgan_256x512.ckpt", "about 1 GB", OCTET)
EXPLAINED = [BLOBGAN, ("CHECKPOINTS", "encoder_256x512.pt", "about 0.4 GB", OCTET),
             ("CHECKPOINTS", "decision_densenet.tar", "about 28 MB", OCTET),
             ("CHECKPOINTS", "vgg16-397923af.pth", "528 MB", "download.pytorch.org/models")]
INCEPTION = ("CHECKPOINTS", "pt_inception-2015-12-05-6726825d.pth", "91 MB",
             "github.com/mseitzer/pytorch-fid/releases")
STREETS = ("DATA", "bdd100k/images/100k/val", "0.5 GB, 10,000 images", "bdd-data.berkeley.edu, 100K Images")
TABLES = {
    "qc-2": [CIFAR, *SCORE], "qc-3": [STATISTICS, INCEPTION, *SCORE], "qc-4": [STATISTICS, INCEPTION, *SCORE],
    "rcps-histogram": OUTPUTS, "rcps-levels": OUTPUTS,
    "cf-features": [*EXPLAINED, INCEPTION, STREETS], "cf-inversion": [*EXPLAINED, INCEPTION, STREETS],
    "blobgan-fid": [BLOBGAN, INCEPTION, STREETS],
}


def main(table):
    """Print the files of a table; return the status."""
    missing = 0
    for variable, name, size, where in TABLES[table]:
        path = Path(os.environ.get(variable) or f"${variable}") / name
        there = path.exists()
        missing += not there
        print(f"{'there  ' if there else 'MISSING'}  {path}  ({size}; {where})", file=sys.stderr)
    if missing:
        print(f"error: table-{table}: {missing} of {len(TABLES[table])} files are missing. Put them where the list "
              "says, below DATA=FOLDER and CHECKPOINTS=FOLDER.", file=sys.stderr)
    return 2 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
