#!/usr/bin/env bash
# A painting's style from nothing in a few minutes: no knob, and no beauty, but both losses fall, as
# the style weighs little. Without --task-field there is more of it, at the photo's cost.
#   quick_style.sh PHOTOS CONTENT PAINTING OUT [STEPS]
# CONTENT are the photos that previews, in OUT.run/previews, are made of.
set -euo pipefail
photos=$1 content=$2 painting=$3 out=$4 steps=${5:-300}
tunectl train --task style --style "$painting" --task-field style=50 --data "$photos" \
    --validation "$content" --batch 2 --draws 1 --patch 192 --lr 2e-3 \
    --warmup 30 --steps "$steps" --store fp16 --seed 0 -o "$out"
