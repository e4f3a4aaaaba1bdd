#!/usr/bin/env bash
# A knob from the photo to a painting's style, in three runs; 50 minutes on two cores.
#   style.sh PHOTOS CONTENT PAINTING BASE OUT [STEPS MORE_STEPS LAST_STEPS [START]]
# PHOTOS to train on; CONTENT are the photos that previews, in OUT.run/previews, are made of. BASE, a
# network that gives the photo back, is made first where it is not there yet: styles of one base
# can, folded, be mixed by `tunectl interpolate`. START, a style that stands on the same BASE, can
# paint already: with it 800, 500 and 300 steps are enough. The BASE of starry-night is
#   tunectl interpolate starry-night --alpha 0 -o BASE
# The variable CARD, where it is set, is the file's one-line card.
set -euo pipefail
photos=$1 content=$2 painting=$3 base=$4 out=$5 steps=${6:-2200} more=${7:-1500} last=${8:-480}
start=${9:-}
shared=(--data "$photos" --exclude 'bsd_*' --validation "$content" --batch 2 --draws 1
    --licence "MIT; sources in weights/README.md")
[ -e "$base" ] || tunectl train --task style --network transform-net --network-field residual=true \
    "${shared[@]}" --steps 100 --patch 128 --lr 1e-3 --warmup 20 --seed 0 -o "$base"
shared+=(--card "${CARD:-From the photo to the style of $(basename "$painting").}")
shared+=(--style "$painting" --tuner dni --way path --patch 192 --warmup 30 --store fp16)
tunectl finetune "$base" "${shared[@]}" --steps "$steps" --bias 0.5 --lr 2e-3 --seed 0 \
    ${start:+--start "$start"} -o "$out.first.safetensors"
tunectl finetune "$base" "${shared[@]}" --steps "$more" --bias 0.3 --lr 1e-3 --seed 1 \
    --start "$out.first.safetensors" -o "$out.second.safetensors"
# The whole style is murky: at alpha 1 the photo keeps three tenths of the loss.
tunectl finetune "$base" "${shared[@]}" --steps "$last" --bias 0.3 --lr 5e-4 --seed 2 \
    --level 0.7 --start "$out.second.safetensors" -o "$out"
