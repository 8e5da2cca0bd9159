# Sourced by table_rcps_histogram.sh and table_rcps_levels.sh: the calibrations that both are made of, in MEAN (one lambda
# for the mean over the levels) and OWN (one for each level), and BASE, EXPERIMENT with the encoder's outputs.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
PYTHON="${PYTHON:-python3}"
if [ "${SCALE:-small}" = paper ]; then
  : "${DATA:?error: DATA: not given. Pass DATA=FOLDER with super_resolution/data/calibration_set_outputs_generated_data/1/outputs.npz, and 16 and 32 beside it.}"
  CHECK=() # DRY_RUN=1: check the files and the commands, compute nothing
  [ -z "${DRY_RUN:-}" ] || CHECK=(--dry_run)
  "$PYTHON" -m docs.chains.parts.wanted rcps-levels || [ -z "${DRY_RUN:-}" ] || exit 2
  OUT="${OUT:-$PWD/out/table-rcps}" BASE="$DATA" EXPERIMENT=super_resolution
  MEAN="$OUT/mean" OWN="$OUT/each_together"
  calibrate() { "$PYTHON" -m tools.calibrate_rcps --base_dir "$BASE" --exp_name "$EXPERIMENT" --total_runs 100 --quiet "${CHECK[@]}" "$@"; }
  calibrate --output_dir "$MEAN"
  calibrate --output_dir "$OWN" --levels_as each_together
  [ -z "${DRY_RUN:-}" ] || exit 0
else
  OUT="${OUT:-$PWD/out/demo/intervals}" BASE="$OUT" EXPERIMENT=digits
  MEAN="$OUT/digits/calibration" OWN="$OUT/each_together"
  OUT="$OUT" bash "$(dirname "${BASH_SOURCE[0]}")/../intervals.sh" --quiet
fi
