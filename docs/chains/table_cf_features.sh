#!/usr/bin/env bash
# Zemni et al. 2023 (OCTET), counterfactuals by what may change: success, distance, realism of all features, style alone,
# structure alone. SCALE=small: the demo's streets.  SCALE=paper: BDD100K and the published networks below DATA and
# CHECKPOINTS. The paper's numbers could not be read when this was written, so none stands beside.
set -euo pipefail
TABLE=cf-features
source "$(dirname "${BASH_SOURCE[0]}")/parts/cf.sh"
search all
[ -n "${DRY_RUN:-}" ] && INVERTED=() || INVERTED=(--load_inversion --inversions_path "$OUT/all/all_inversions.pt")
search style --target_features spatial_style "${INVERTED[@]}" & style=$!
search structure --target_features sizes features "${INVERTED[@]}"
wait "$style"
[ -n "${DRY_RUN:-}" ] || "$PYTHON" -m docs.chains.parts.measured cf-features "$OUT"
