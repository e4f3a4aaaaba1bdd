#!/usr/bin/env bash
# The bundled `denoise`: joint training over sigma 0 to 75, one knob, in four runs.
#   denoise.sh PHOTOS VALIDATION OUT [FIRST_MINUTES] [SECOND_MINUTES] [THIRD_MINUTES]
# PHOTOS and VALIDATION are folders of clean photos. Each run starts from the weights of the one
# before: the second with larger patches and more of the strong levels, the third with a loss that
# is the PSNR's own, the last, of 900 steps, with many flat patches for the sake of flat borders. A
# further run is the third again and then the last.
set -euo pipefail
photos=$1 validation=$2 out=$3 first_minutes=${4:-92} second_minutes=${5:-80} third_minutes=${6:-62}
first="${out%.safetensors}-first.safetensors" second="${out%.safetensors}-second.safetensors"
third="${out%.safetensors}-third.safetensors"
common=(--task denoise --network unet --tuner dni --level 0-75 --power 1.5
    --data "$photos" --exclude 'bsd_*' --validation "$validation"
    --draws 1 --store fp16 --licence "MIT; sources in weights/README.md"
    --card "Gaussian noise, sigma 0 to 75, colour and gray.")

tunectl train "${common[@]}" --bias 1.5 --minutes "$first_minutes" --flat 0 --ema 0.999 \
    --batch 4 --patch 112 --lr 8e-4 --seed 0 -o "$first"
tunectl train "${common[@]}" --bias 0.8 --minutes "$second_minutes" --flat 0 --ema 0.999 \
    --batch 4 --patch 128 --lr 6e-4 --seed 1 --start "$first" -o "$second"
tunectl train "${common[@]}" --bias 0.8 --minutes "$third_minutes" --loss psnr --ema 0.999 \
    --batch 4 --patch 128 --lr 5e-4 --seed 2 --start "$second" -o "$third"
tunectl train "${common[@]}" --bias 0.8 --steps 900 --loss psnr --flat 0.2 --ema 0.99 \
    --batch 4 --patch 128 --lr 1e-4 --seed 3 --start "$third" -o "$out"
