#!/usr/bin/env bash
# One `deblock` model of two that deblock.sh made from one start with different seeds: their mean,
# which is better than either, and a few steps that settle and calibrate it.
#   deblock_mix.sh PHOTOS VALIDATION OUT FIRST SECOND [STEPS]
set -euo pipefail
photos=$1 validation=$2 out=$3 first=$4 second=$5 steps=${6:-600}
mean="${out%.safetensors}-mean.safetensors"
tunectl interpolate "$first" "$second" --mix 0.5,0.5 -o "$mean"
tunectl train --task deblock --task-field subsampling=mixed --task-field twice=0.2 --task-field aligned=0.9 \
    --network unet --tuner dni --level 95-5 --power 0.5 --bias 0.7 --gray 0.5 \
    --data "$photos" --exclude 'bsd_*' --validation "$validation" --draws 1 --store int8 \
    --licence "MIT; sources in weights/README.md" \
    --card "JPEG compression, quality 95 to 5, colour and gray." --steps "$steps" --loss psnr \
    --batch 4 --patch 128 --lr 5e-5 --flat 0.02 --ema 0.99 --seed 7 --start "$mean" -o "$out"
