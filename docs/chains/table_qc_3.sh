#!/usr/bin/env bash
# Table 3 of Chao et al. 2023: sample quality with the predictor-corrector sampler.
#   SCALE=small (default): the models of table_qc_2.sh, Frechet distance in small-features-v1 and PRDC.
#   SCALE=paper: dataset_stat.npz below DATA, and below CHECKPOINTS the trained u.pth, qc.pth and c.pth.
set -euo pipefail
TABLE=3
METHOD=(--method pc)
ODE=""
. "$(dirname "$0")/parts/quality.sh"
