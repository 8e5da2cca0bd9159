#!/usr/bin/env bash
# Sankaranarayanan et al. 2022, the histogram of test risks before and after calibration: its numbers over the splits.
# SCALE=small: the demo's digits.  SCALE=paper: outputs of the published encoder below DATA. The paper's numbers stand in a
# figure alone, so none is beside them.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/parts/rcps.sh"
"$PYTHON" -m tools.calibrate_rcps figures --base_dir "$BASE" --exp_name "$EXPERIMENT" --calibration "$MEAN" \
  --output_dir "$MEAN/figures" --quiet
"$PYTHON" -m docs.chains.parts.interval_tables histogram "$MEAN"
echo "figure: $MEAN/figures/risk.png"
"$PYTHON" -m docs.chains.parts.measured rcps-histogram "$MEAN"
