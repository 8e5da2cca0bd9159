#!/usr/bin/env bash
# Made street scenes -> the model that is to be explained, a second one as its independent oracle and a biased one -> a
# BlobGAN of the scenes, kept by its distance to held-out ones -> what it draws, seen by a judge that is not a network -> the
# encoder from scenes to layouts -> counterfactuals of 24 scenes, evaluated beside what the judge and the oracle see.
# Everything lands below out/demo/counterfactuals. Run it again and it goes on from what is there.
set -euo pipefail
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
PYTHON="${PYTHON:-python3}"
OUT="${OUT:-$PWD/out/demo/counterfactuals}"
SEED="${SEED:-0}" # of the BlobGAN
ASPECT="${ASPECT:-1}" # 2: scenes of 32 x 64
export GENPROBE_CACHE="${GENPROBE_CACHE:-$OUT/.cache}"
SCENES="$OUT/.scenes" DRAWN="$OUT/.drawn" # hidden from the report, which would show each image

# Scenes whose truth is known: five fair coins, of which the first four are what the models decide.
[ -f "$SCENES/judge.json" ] || "$PYTHON" -m docs.chains.parts.streets make "$SCENES" "$ASPECT"
cp -u "$SCENES/scenes.png" "$OUT/"

# The model, an oracle of another width and seed, and one that saw a warm sky with every green light and with no red one.
decide() { # NAME TABLE FLAGS...
  local name="$1" table="$2"
  shift 2
  "$PYTHON" -m tools.train_decision_model --preset small --steps 150 --csv "$SCENES/train/$table" --val_csv "$SCENES/val/truth.csv" \
    --attributes green ahead left right --num_workers 1 --output_dir "$OUT/$name" "$@"
}
decide decision truth.csv "$@"
decide oracle truth.csv --seed 1 --width 12 "$@"
decide biased biased.csv "$@"

# The generator: the checkpoint that stays is the one whose pictures are nearest to held-out scenes in small-features-v1,
# a space of its own: its distances compare with each other alone.
"$PYTHON" -m tools.train_blobgan --preset streets --data "$SCENES" --aspect_ratio "$ASPECT" --seed "$SEED" \
  --every_n_train_steps 200 --monitor train/fid --save_top_k 1 --log_fid_every_n_steps 200 --fid_n_imgs 2000 --reference "$SCENES/val" \
  --extractor small --output_dir "$OUT/gan" "$@"
BEST="$("$PYTHON" -m docs.chains.parts.street_tables best "$OUT")"
"$PYTHON" -m tools.generate_blobgan "$BEST" -n 2000 -t 0 --nosave_layouts --save_dir "$DRAWN" "$@"
"$PYTHON" -m tools.generate_blobgan "$BEST" -n 24 -t 0 --save_blobs --label_blobs --save_dir "$OUT/pictures" "$@"
"$PYTHON" -m tools.compute_fid clean "$DRAWN/imgs" --reference "$SCENES/val" --extractor small --metrics fid,prdc \
  -bs 256 --output_dir "$OUT/distance" "$@"

# The encoder: scenes to the latents of their layouts.
encode() { # STAGE FLAGS...
  local stage="$1"
  shift
  "$PYTHON" -m tools.train_encoder "$stage" --preset streets --blobgan_weights "$BEST" \
    --perceptual "$OUT/oracle/checkpoint.tar" --quality_images 256 --output_dir "$OUT/encoder_$stage" "$@"
}
encode pretrain "$@"
encode train --dataset_path "$SCENES" --decision_weights "$OUT/decision/checkpoint.tar" \
  --start_weights "$OUT/encoder_pretrain/best.pt" "$@"
newer() { # FILE FOLDERS...: than the last run in each
  local file="$1" folder
  shift
  for folder; do [ "$file" -nt "$folder/run.json" ] || return 1; done
}
newer "$OUT/summary.json" "$OUT"/{decision,oracle,biased,gan,distance} || "$PYTHON" -m docs.chains.parts.street_tables demo "$OUT"

# 24 held-out scenes: which small change of which blobs turns each of the four decisions, far enough over the border that
# the oracle sees it, too. What the judge sees of it is the known truth; it is measured for the counterfactuals before and
# after they were made sparse. The judge looks once at a search: of tables written again the evaluations would be made
# again.
"$PYTHON" -m tools.blobex_inv_cf --preset streets --blobgan_weights "$BEST" --dataset_path "$SCENES/val" \
  --encoder_weights "$OUT/encoder_train/best.pt" --decision_model_weights "$OUT/decision/checkpoint.tar" \
  --perceptual "$OUT/oracle/checkpoint.tar" --max_images 24 --bs 24 --margin 12 --sparse_margin 8 --n_iters_cf 60 \
  --output_dir "$OUT/counterfactuals" "$@"
newer "$OUT/judged/truth_dense.csv" "$OUT/counterfactuals" || "$PYTHON" -m docs.chains.parts.street_flips "$OUT"
evaluate() { # NAME TRUTH FLAGS...
  local name="$1" truth="$2"
  shift 2
  "$PYTHON" -m tools.evaluate_cf "$OUT/counterfactuals" --oracle "$OUT/oracle/checkpoint.tar" \
    --truth "$OUT/judged/$truth.csv" --output_dir "$OUT/$name" "$@"
}
evaluate evaluation_before truth_dense --nosparse "$@"
evaluate evaluation truth --redundancy "$@"
