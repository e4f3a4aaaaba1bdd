#!/usr/bin/env bash
# The pair that this project began with, feathers to mosaic, once, by FTN: for figures only, since
# the licences of the two pictures are not known.
#   feathers_to_mosaic.sh PHOTOS CONTENT STYLES OUT [STEPS TUNED_STEPS]
# STYLES holds feathers.jpg and mosaic.jpg.
set -euo pipefail
photos=$1 content=$2 styles=$3 out=$4 steps=${5:-250} tuned=${6:-200}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
shared=(--data "$photos" --exclude 'bsd_*' --validation "$content" --batch 2 --draws 1 --seed 0
    --patch 192 --warmup 30 --store fp16)
tunectl interpolate starry-night --alpha 1 -o "$out/start.safetensors"
tunectl train --task style --style "$styles/feathers.jpg" --network transform-net \
    --network-field residual=true --start "$out/start.safetensors" "${shared[@]}" \
    --steps "$steps" --lr 1e-3 -o "$out/feathers.safetensors"
tunectl finetune "$out/feathers.safetensors" --style "$styles/mosaic.jpg" \
    --from-style "$styles/feathers.jpg" --tuner ftn --way endpoint "${shared[@]}" \
    --steps "$tuned" --lr 1e-3 -o "$out/ftn.safetensors"
python "$here/../../tests/benchmarks/style_knob.py" "$out/ftn.safetensors" \
    --photos "$content" --styles "$styles" --sheet "$out/sheet.jpg"
