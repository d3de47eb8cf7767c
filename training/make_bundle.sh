#!/usr/bin/env bash
# One of the two committed bundles from its data: network, meta classifier, bundle.
#
#   training/make_bundle.sh default DATA RUNS
#   training/make_bundle.sh deeplab_mobilenet DATA RUNS
#
# DATA holds camvid, idd_lite, ecssd and coco (folders, or links to them) and espnet_v2.pth, the
# published weights. Each step writes below RUNS and is left out when it was done before, and a
# training that was interrupted goes on: run it again until RUNS/<name> is there.
#   RANKS=2            processes for training, one a core (or a GPU: THREADS=0)
#   THREADS=1          of each
#   PYTHON=python3     the interpreter; default is that of .venv, else python3
#   OVERRIDES='...'    more of `meta-ood-train finetune`, such as training.max_steps=10
set -euo pipefail

name=${1:-} data=${2:-} runs=${3:-}
if [[ ! $name =~ ^(default|deeplab_mobilenet)$ || ! -d $data || -z $runs ]]; then
  echo "usage: $0 default|deeplab_mobilenet DATA RUNS; DATA must be a folder, got '$data'" >&2
  exit 2
fi
ranks=${RANKS:-2} threads=${THREADS:-1}
if ((4 % ranks)); then
  echo "$0: RANKS must be 1, 2 or 4, by which the crops of a step can be dealt, got $ranks" >&2
  exit 2
fi
mkdir -p "$runs"
data=$(realpath "$data") runs=$(realpath "$runs")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ -z ${PYTHON:-} ]]; then
  PYTHON=python3
  if [[ -x .venv/bin/python ]]; then PYTHON=.venv/bin/python; fi
fi
# Idle threads of OpenMP would spin on the core that the other rank computes on.
export OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=1000

train() { # torchrun for what all ranks share
  "$PYTHON" -m torch.distributed.run --nproc-per-node "$ranks" \
    -m meta_ood_training.cli "$@"
}
one() { "$PYTHON" -m meta_ood_training.cli "$@"; }

finetune() { # finetune CONFIG CROPS RUN [more]: CROPS of all ranks together
  local config=$1 crops=$2 run=$3
  shift 3
  [[ -e $run/final.pth ]] && return
  local resume=()
  if [[ -e $run/last.ckpt ]]; then
    resume=(--resume)
  else
    rm -f "$run/best.pth" # of a run that ended before the first point where it could go on
  fi
  # shellcheck disable=SC2086  # OVERRIDES are several words
  train finetune "config/$config.yaml" training.threads="$threads" \
    training.batch_size=$((crops / ranks)) ${OVERRIDES:-} "$@" --output "$run" "${resume[@]}" \
    --data camvid="$data/camvid" --data ecssd="$data/ecssd" --data coco="$data/coco"
}
# What all but one of them use besides.
more=(--data idd_lite="$data/idd_lite" --data espnet_v2_weights="$data/espnet_v2.pth")

says() { # says CONFIG KEY: a text of its bundle, in one line
  awk -v key="  $2:" 'index($0, key) == 1 { on = 1; $0 = substr($0, length(key) + 1) }
    on && !/^ / && NR > 1 { on = 0 }
    on && /^  [a-z_]+:/ { on = 0 }
    on { gsub(/^ +| +$/, ""); if ($0 != ">-" && $0 != "") { printf "%s%s", sep, $0; sep = " " } }
  ' "config/$1.yaml"
}

if [[ $name == default ]]; then
  network=$runs/espnet_v2 config=finetune_espnet_v2
  finetune $config 4 "$network" "${more[@]}"
  min_object_px=811 gap=0 # fitted before folds left a gap
else
  network=$runs/mobilenet config=finetune_deeplabv3plus_mobilenet_v2
  finetune finetune_deeplabv3plus_mobilenet_v2_small 16 "$network"_small "${more[@]}"
  finetune finetune_deeplabv3plus_mobilenet_v2_classes 8 "$network"_classes \
    "${more[@]}" --data small="$network"_small/final.pth
  finetune finetune_deeplabv3plus_mobilenet_v2_details 8 "$network"_details \
    --data classes="$network"_classes/final.pth
  finetune $config 8 "$network" \
    "${more[@]}" --data details="$network"_details/final.pth
  min_object_px=495 gap=0.2
fi
bundle=$runs/$name.network overlay=$runs/overlay_train rows=$runs/$name.rows
[[ -e $bundle/bundle.yaml ]] ||
  one bundle export --checkpoint "$network/final.pth" --half --output "$bundle" --name "$name" \
    --licence "$(says $config licence_of_weights)" --data-terms "$(says $config data_terms)"
[[ -e $overlay/manifest.json ]] ||
  { rm -rf "$overlay" # what an interrupted one left
    one overlay --frames camvid_fit="$data/camvid" --objects ecssd="$data/ecssd" \
      --objects coco="$data/coco" --split train --output "$overlay"; }
[[ -e $rows.done ]] ||
  { rm -rf "$rows"
    train segments "$rows" --bundle "$bundle" --data folder="$overlay" --scenes 1000:1200 \
      --threshold 0.4 0.5 0.6 0.7 0.8
    touch "$rows.done"; }
# Which threshold, and how many false segments pass: see docs/meta_classification.md.
[[ -e $runs/$name/bundle.yaml ]] ||
  one fit-meta "$rows" --bundle "$bundle" --output "$runs/$name" --report "$runs/$name.report" \
    --min-object-px $min_object_px --gap $gap --rule max_false --bound 0.8 --choose siou --only
echo "$runs/$name is the bundle, $runs/$name.report its report."
