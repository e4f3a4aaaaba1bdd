#!/usr/bin/env bash
# A knob from the photo to a painting's style, learned in one run.
#   style.sh PHOTOS CONTENT PAINTING OUT [STEPS]
# PHOTOS to train on; CONTENT are the photos that previews, in OUT.previews, are made of. The power
# gives the weak end most of the knob: a tenth of a style's loss is already most of the style.
set -euo pipefail
photos=$1 content=$2 painting=$3 out=$4 steps=${5:-4000}
tunectl train --task style --style "$painting" --tuner dni --power 3 \
    --network transform-net --network-field residual=true \
    --data "$photos" --exclude 'bsd_*' --validation "$content" --previews "$out.previews" \
    --steps "$steps" --batch 2 --draws 1 --patch 256 --lr 1e-3 --seed 0 --store fp16 \
    --licence "MIT; sources in weights/README.md" -o "$out"
