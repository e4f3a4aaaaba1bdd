#!/usr/bin/env bash
# A `deblock` model: JPEG quality 95 to 5 by one knob, colour and gray, from the denoiser's weights.
#   deblock.sh PHOTOS VALIDATION OUT [MINUTES] [START] [ALIGNED] [GRAY] [SEED] [RATE] [OPTION ...]
# PHOTOS and VALIDATION are folders of clean photos. A further run is the same, from START with
# another SEED, so that it sees other patches, and in the end at a lower RATE: 3e-4.
# For the last one PHOTOS held smaller copies as well: smaller.py makes them.
# More options of `train` may follow, such as --batch 64 --optimizer muon where there is a GPU.
# ALIGNED is the share of pictures whose blocks begin at the corner, as in a file that was not cropped.
set -euo pipefail
photos=$1 validation=$2 out=$3 minutes=${4:-90} start=${5:-weights/denoise.safetensors}
aligned=${6:-0.9} gray=${7:-0.5} seed=${8:-0} rate=${9:-5e-4}
tunectl train --task deblock --task-field subsampling=mixed --task-field twice=0.2 --task-field aligned="$aligned" \
    --network unet --tuner dni --level 95-5 --power 0.5 --bias 0.7 --gray "$gray" \
    --data "$photos" --exclude 'bsd_*' --validation "$validation" --draws 1 --store int8 \
    --licence "MIT; sources in weights/README.md" \
    --card "JPEG compression, quality 95 to 5, colour and gray." --minutes "$minutes" --loss psnr \
    --batch 4 --patch 128 --lr "$rate" --flat 0.02 --ema 0.999 --seed "$seed" --start "$start" "${@:10}" -o "$out"
