#!/usr/bin/env bash
# What the knob costs: one joint model of sigma 0 to 75 beside networks of one level, equal steps.
#   knob_cost.sh PHOTOS VALIDATION MEASURED OUT [STEPS]
# Prints PSNR on MEASURED: the joint model by its calibration, each other one at its own level.
set -euo pipefail
photos=$1 validation=$2 measured=$3 out=$4 steps=${5:-4000}
mkdir -p "$out"
common=(--task denoise --network unet --data "$photos" --exclude 'bsd_*' --validation "$validation"
    --draws 1 --batch 4 --patch 128 --lr 8e-4 --loss psnr --ema 0.998 --seed 0 --steps "$steps")
tunectl train "${common[@]}" --tuner dni --level 0-75 --power 1.5 -o "$out/joint.safetensors"
tunectl evaluate "$measured" -m "$out/joint.safetensors" --level 25,50 --alpha calibrated
for level in 25 50; do
    tunectl train "${common[@]}" --level "$level" -o "$out/only-$level.safetensors"
    tunectl evaluate "$measured" -m "$out/only-$level.safetensors" --level "$level"
done
