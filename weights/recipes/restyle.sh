#!/usr/bin/env bash
# Any style by one model: the decoder of adain-net, learned on photos and paintings.
#   restyle.sh PHOTOS CONTENT PAINTINGS OUT [FIRST_STEPS STEPS LAST_MINUTES]
# CONTENT are the photos that previews, in OUT.run/previews, are made of. Each run starts from the one
# before; a further run is the last one again, from OUT.
set -euo pipefail
photos=$1 content=$2 paintings=$3 out=$4 first=${5:-1250} steps=${6:-17000} last=${7:-50}
shared=(--task restyle --style "$paintings" --data "$photos" --exclude 'bsd_*'
    --validation "$content" --draws 1
    --store fp16 --licence "MIT; sources in weights/README.md" --card "Any picture's style, by --style.")
tunectl train "${shared[@]}" --steps "$first" --batch 4 --patch 128 --lr 1e-3 --ema 0.99 --seed 0 \
    --task-field style=10 -o "$out.first.safetensors"
# Much style against little photo at first, to learn colours soon; then the photo's detail.
shared+=(--batch 3 --patch 160 --ema 0.995 --bias 0.7)
tunectl train "${shared[@]}" --steps "$steps" --lr 1e-3 --seed 1 \
    --start "$out.first.safetensors" -o "$out.second.safetensors"
tunectl train "${shared[@]}" --minutes "$last" --lr 5e-4 --seed 3 \
    --start "$out.second.safetensors" -o "$out"
