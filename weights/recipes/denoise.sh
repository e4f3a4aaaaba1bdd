#!/usr/bin/env bash
# The bundled `denoise`: joint training over sigma 0 to 75, one knob.
#   denoise.sh PHOTOS VALIDATION OUT [MINUTES] [more options of `tunectl train`, such as --resume]
# PHOTOS and VALIDATION are folders of clean photos. A later run goes on from its weights with
# --start FILE.
set -euo pipefail
photos=$1 validation=$2 out=$3 minutes=${4:-92}
shift $(($# < 4 ? $# : 4))
tunectl train --task denoise --network unet --tuner dni --level 0-75 --power 1.5 --bias 1.5 \
    --data "$photos" --exclude 'bsd_*' --validation "$validation" \
    --minutes "$minutes" --batch 4 --draws 1 --patch 112 --lr 8e-4 --ema 0.999 --seed 0 \
    --store fp16 --licence "MIT; sources in weights/README.md" \
    --card "Gaussian noise, sigma 0 to 75, colour and gray." \
    -o "$out" "$@"
