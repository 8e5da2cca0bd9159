#!/usr/bin/env bash
# Ours: what one lambda for the mean over the difficulty levels leaves each level, beside a lambda for each level.
# SCALE=small: the demo's digits.  SCALE=paper: outputs of the published encoder below DATA.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/parts/rcps.sh"
"$PYTHON" -m docs.chains.parts.interval_tables levels "$MEAN" "$OWN"
"$PYTHON" -m docs.chains.parts.measured rcps-levels "$MEAN" "$OWN"
