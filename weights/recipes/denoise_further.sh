#!/usr/bin/env bash
# Goes on with the bundled `denoise` from its weights, which is all that it is short of.
#   denoise_further.sh PHOTOS VALIDATION OUT [MINUTES] [START] [BATCH] [OPTIMIZER] [OPTION ...]
# PHOTOS and VALIDATION are folders of clean photos. A long run of the loss that is the PSNR's own,
# then a short one with many flat patches for the sake of flat borders. Two cores: the defaults.
# More options of `train` may follow. On a GPU a step of 32 patches takes as long as one of 128, and many
# steps count for more than large ones; --compile is there to shorten them, but not measured yet.
set -euo pipefail
photos=$1 validation=$2 out=$3 minutes=${4:-120} start=${5:-weights/denoise.safetensors}
batch=${6:-4} optimizer=${7:-adamw}
long="${out%.safetensors}-long.safetensors"
common=(--task denoise --network unet --tuner dni --level 0-75 --power 1.5 --bias 0.8
    --data "$photos" --exclude 'bsd_*' --validation "$validation" --draws 1 --batch "$batch"
    --patch 128 --loss psnr --licence "MIT; sources in weights/README.md"
    --card "Gaussian noise, sigma 0 to 75, colour and gray.")

tunectl train "${common[@]}" --minutes "$minutes" --optimizer "$optimizer" --lr 5e-4 --ema 0.999 \
    --seed 4 --start "$start" "${@:8}" -o "$long"
tunectl train "${common[@]}" --steps 900 --flat 0.2 --lr 1e-4 --ema 0.99 --store int8 \
    --seed 5 --start "$long" "${@:8}" -o "$out"
