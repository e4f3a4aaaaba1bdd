#!/usr/bin/env bash
# Any style by one model: the decoder of adain-net, learned on photos and paintings.
#   restyle.sh PHOTOS CONTENT PAINTINGS OUT [FIRST_MINUTES MINUTES LAST_MINUTES]
# CONTENT are the photos that previews, in OUT.previews, are made of. A further run is the last one
# again, with --start OUT and another name.
set -euo pipefail
photos=$1 content=$2 paintings=$3 out=$4 first=${5:-5} minutes=${6:-15} last=${7:-100}
shared=(--task restyle --style "$paintings" --data "$photos" --exclude 'bsd_*'
    --validation "$content" --previews "$out.previews" --batch 8 --draws 1 --ema 0.99
    --store fp16 --licence "MIT; sources in weights/README.md")
# Almost only the photo at first: a decoder that does not know colours learns styles slowly.
tunectl train "${shared[@]}" --minutes "$first" --patch 128 --bias 8 --lr 1e-3 --seed 0 \
    -o "$out.first.safetensors"
tunectl train "${shared[@]}" --minutes "$minutes" --patch 128 --bias 1.5 --lr 1e-3 --seed 1 \
    --start "$out.first.safetensors" -o "$out.second.safetensors"
tunectl train "${shared[@]}" --minutes "$last" --patch 256 --bias 0.7 --lr 1e-3 --seed 2 \
    --start "$out.second.safetensors" -o "$out"
