#!/usr/bin/env bash
# Any style by one model: the decoder of adain-net, learned on photos and paintings.
#   restyle.sh PHOTOS CONTENT PAINTINGS OUT [MINUTES]
# CONTENT are the photos that previews, in OUT.previews, are made of. A further run is this one
# again, with --start OUT and another name.
set -euo pipefail
photos=$1 content=$2 paintings=$3 out=$4 minutes=${5:-120}
tunectl train --task restyle --style "$paintings" --data "$photos" --exclude 'bsd_*' \
    --validation "$content" --previews "$out.previews" --minutes "$minutes" --batch 8 --draws 1 \
    --patch 256 --lr 1e-3 --ema 0.999 --seed 0 --store fp16 \
    --licence "MIT; sources in weights/README.md" -o "$out"
