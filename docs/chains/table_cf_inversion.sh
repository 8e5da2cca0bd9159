#!/usr/bin/env bash
# Zemni et al. 2023 (OCTET), the inversion with one of its terms left out at a time: how near the reconstruction is and whether
# the decisions stay. SCALE=small: the demo's streets.  SCALE=paper: BDD100K and the published networks below DATA and
# CHECKPOINTS. The paper's numbers could not be read when this was written, so none stands beside.
set -euo pipefail
TABLE=cf-inversion
source "$(dirname "${BASH_SOURCE[0]}")/parts/cf.sh"
invert() { # NAME FLAGS...
  local name="$1"
  shift
  "$PYTHON" -m tools.blobex_inv_cf "${MODELS[@]}" --inversion_only --output_dir "$OUT/$name" --quiet "${CHECK[@]}" "$@"
  [ -z "${DRY_RUN:-}" ] || return 0
  local known=() index
  for index in "${!MODELS[@]}"; do
    case "${MODELS[$index]}" in
    --blobgan_weights | --decision_model_weights | --dataset_path | --lpips_weights | --perceptual)
      known+=("${MODELS[$index]}" "${MODELS[$((index + 1))]}") ;;
    esac
  done
  "$PYTHON" -m tools.evaluate_cf inversion --inv_path "$OUT/$name/all_inversions.pt" "${known[@]}" --output_dir "$OUT/$name/quality" --quiet
}
{ # two at a time
  invert no_l2 --lambda_inv_l2 0
  invert no_prior --lambda_inv_latent_prox 0
} & others=$!
invert all
invert no_lpips --lambda_inv_lpips 0
invert no_decision --lambda_inv_decision_fm 0
wait "$others"
[ -n "${DRY_RUN:-}" ] || "$PYTHON" -m docs.chains.parts.measured cf-inversion "$OUT"
