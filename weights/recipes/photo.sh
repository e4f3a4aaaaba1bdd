#!/usr/bin/env bash
# A `photo` model: noise of cameras, 0 to 30 on mid-gray, by one knob, from the denoiser's weights.
#   photo.sh PHOTOS VALIDATION OUT [MINUTES] [START] [SEED] [BIAS]
# PHOTOS and VALIDATION are folders of clean photos. A further run is the same, from START with
# another SEED, so that it sees other patches. The last 900 steps, with many flat patches, teach that
# these stay as they are: they are for the end of the last run.
set -euo pipefail
photos=$1 validation=$2 out=$3 minutes=${4:-122} start=${5:-weights/denoise.safetensors}
seed=${6:-0} bias=${7:-1.7}
before="${out%.safetensors}-before.safetensors"
common=(--task photo --network unet --tuner dni --level 0-30 --power 1.5 --bias "$bias"
    --data "$photos" --exclude 'bsd_*' --validation "$validation" --draws 1 --store int8
    --licence "MIT; sources in weights/README.md" --card "Noise of real cameras, colour and gray."
    --loss psnr --batch 4 --patch 128)
tunectl train "${common[@]}" --minutes "$minutes" --lr 5e-4 --flat 0.03 --ema 0.998 --seed "$seed" \
    --start "$start" -o "$before"
tunectl train "${common[@]}" --steps 900 --lr 1e-4 --flat 0.2 --ema 0.99 --seed "$((seed + 1))" \
    --start "$before" -o "$out"
