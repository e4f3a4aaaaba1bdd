#!/usr/bin/env bash
# Every tuner on one small base, endpoint way, half an hour in all: sigma 15 at alpha 0, 50 at alpha 1.
#   tuners.sh PHOTOS VALIDATION MEASURED OUT [BASE_STEPS] [TUNER_STEPS]
# PHOTOS to train on, VALIDATION to calibrate on, MEASURED for the tables of PSNR by alpha at both
# levels and two between (its first 24 pictures); OUT is the folder for the models.
# The base is adafm-net with width 32 and 4 blocks instead of the papers' 64 and 16.
set -euo pipefail
photos=$1 validation=$2 measured=$3 out=$4 base_steps=${5:-16000} steps=${6:-3000}
mkdir -p "$out"
common=(--data "$photos" --validation "$validation" --exclude 'bsd_*'
    --batch 4 --draws 1 --patch 64 --seed 0)

tunectl train --task denoise --network adafm-net --network-field width=32 --network-field blocks=4 \
    --level 15 --lr 2e-3 --steps "$base_steps" "${common[@]}" -o "$out/base.safetensors"

finetune() { # NAME, TUNER, further options
    local name=$1 tuner=$2
    shift 2
    tunectl finetune "$out/base.safetensors" --tuner "$tuner" --way endpoint --level 50 \
        --lr 1e-3 --steps "$steps" "${common[@]}" -o "$out/$name.safetensors" "$@"
}
finetune dni dni
finetune ftn ftn
finetune ftn-gc4 ftn --tuner-field groups=4
finetune adafm-1x1 adafm --tuner-field kernel=1
finetune adafm-5x5 adafm --tuner-field kernel=5
finetune dynamic-net dynamic-net

models=()
for name in dni ftn ftn-gc4 adafm-1x1 adafm-5x5 dynamic-net; do
    models+=(-m "$out/$name.safetensors")
done
tunectl evaluate "$measured" "${models[@]}" --limit 24 --level 15,25,35,50 \
    --alpha 0,0.25,0.5,0.75,1,calibrated
