#!/usr/bin/env bash
# Patches of two photographs in eight classes -> a small EDM network trained on them -> activations of training, held-out
# and generated patches -> three maps on one page: fed alike without labels, with labels, and as the original tools
# compared them (pictures against noise). Everything lands below out/demo/activations; run it again and it answers from
# what is there.
set -euo pipefail
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
PYTHON="${PYTHON:-python3}"
OUT="${OUT:-$PWD/out/demo/activations}"
export GENPROBE_CACHE="${GENPROBE_CACHE:-$OUT/.cache}"
PATCHES="$OUT/.patches" TREES="$OUT/.trees" # hidden from the report, which would show each picture as a result

[ -f "$PATCHES/val_data.npz" ] || "$PYTHON" docs/chains/parts/photo_patches.py "$PATCHES"
"$PYTHON" -m tools.train_edm --npz_dir "$PATCHES" --class_map none --class_balanced \
  --steps 500 --batch_size 8 --lr 0.005 --beta2 0.95 --adam_eps 1e-6 --ema_halflife_kimg 1.5 \
  --samples_per_class 4 --output_dir "$OUT/network" "$@"

real() { # TREE SUBSET COUNT FLAGS...
  local tree="$1" subset="$2" count="$3"
  shift 3
  "$PYTHON" -m tools.extract_real_imagenet --checkpoint_path "$OUT/network/network.safetensors" --npz_dir "$PATCHES" \
    --npz_subset "$subset" --class_map none --class_balanced --num_samples "$count" --format npy --noreconstructions \
    --adapter edm-imagenet-64 --output_dir "$TREES/$tree" "$@"
}
generated() { # TREE FLAGS...
  local tree="$1"
  shift
  "$PYTHON" -m tools.generate_dataset --model imagenet --checkpoint_path "$OUT/network/network.safetensors" \
    --samples_per_class 1 --num_samples 240 --format npy --output_dir "$TREES/$tree" "$@"
}
heun=(--method heun --num_steps 10 --sigma_max 20 --sigma_min 0.01)
alike=(--input_mode clean --conditioning_sigma 0.2)
map() { # TREE TITLE FLAGS...
  local tree="$1" title="$2"
  shift 2
  "$PYTHON" -m tools.process_embeddings --title "$title" --output_dir "$OUT/maps/$tree" "$@"
}

# As the original tools compared them: pictures scaled to sigma 80 against the pass on noise. It is told apart by that alone.
real original train 240 "$@"
generated original "$@"
map original "as the original compared them" --noexplorer \
  --models "real=$TREES/original:imagenet_real" "generated=$TREES/original:imagenet" "$@"

# Fed alike: generated pictures go through the network as real ones do, without a label, then with each one's own.
real alike train 1000 "${alike[@]}" --label_mode none "$@"
real held_out val 400 "${alike[@]}" --label_mode none "$@"
generated alike "${heun[@]}" "${alike[@]}" --label_mode none "$@"
real labels train 240 "${alike[@]}" "$@"
real labels_held_out val 240 "${alike[@]}" "$@"
generated labels "${heun[@]}" "${alike[@]}" --images_from "$TREES/alike" "$@"
map labels "with labels" --noexplorer --models "real=$TREES/labels:imagenet_real" "held-out=$TREES/labels_held_out:imagenet_real" \
  "generated=$TREES/labels:imagenet" "$@"
map alike "pictures alone" --models "real=$TREES/alike:imagenet_real" "held-out=$TREES/held_out:imagenet_real" \
  "generated=$TREES/alike:imagenet" --more_maps "$OUT"/maps/labels/*.json "$OUT"/maps/original/*.json "$@"
