#!/usr/bin/env bash
# Table 4 of Chao et al. 2023: sample quality with the ODE sampler.
#   SCALE=small (default): the models of table_qc_2.sh, Frechet distance in small-features-v1 and PRDC.
#   SCALE=paper: dataset_stat.npz below DATA, and below CHECKPOINTS the trained u.pth, qc.pth and c.pth.
set -euo pipefail
TABLE=4
METHOD=(--method ode)
ODE=--ode
. "$(dirname "$0")/parts/quality.sh"
