#!/usr/bin/env bash
# One of the committed bundles from its data: networks, their mean, outliers, meta classifier, bundle.
#
#   training/make_bundle.sh default DATA RUNS
#   training/make_bundle.sh fast DATA RUNS
#
# DATA holds camvid, idd_lite, labelme_facade, motorway, ecssd and coco (folders, or links to them)
# and the published weights, edgetpu.npz and efficientvit.pt; docs/data.md says where all of it comes
# from. Each step writes below RUNS and is left out when it was done before, and a training that was
# interrupted goes on: run it again until RUNS/<name> is there.
#   RANKS=2            processes for training, one a core (or a GPU: THREADS=0)
#   THREADS=1          of each
#   PYTHON=python3     the interpreter; default is that of .venv, else python3
#   OVERRIDES='...'    more of `meta-ood-train finetune`, such as training.max_steps=10
set -euo pipefail

name=${1:-} data=${2:-} runs=${3:-}
if [[ ! $name =~ ^(default|fast)$ || ! -d $data || -z $runs ]]; then
  echo "usage: $0 default|fast DATA RUNS; DATA must be a folder, got '$data'" >&2
  exit 2
fi
ranks=${RANKS:-2} threads=${THREADS:-1} crops=4
if ((crops % ranks)); then
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

finetune() { # finetune CONFIG RUN [more]
  local config=$1 run=$2 resume=()
  shift 2
  [[ -e $run/final.pth ]] && return
  if [[ -e $run/last.ckpt ]]; then
    resume=(--resume)
  else
    rm -f "$run/best.pth" # of a run that ended before the first point where it could go on
  fi
  mkdir -p "$runs/scenes" # drawn once, for all runs
  # shellcheck disable=SC2086  # OVERRIDES are several words
  train finetune "config/$config.yaml" training.threads="$threads" \
    training.batch_size=$((crops / ranks)) ${OVERRIDES:-} --output "$run" "${resume[@]}" \
    --data camvid="$data/camvid" --data idd_lite="$data/idd_lite" --data ecssd="$data/ecssd" \
    --data coco="$data/coco" --data scenes="$runs/scenes" "$@"
}
facade=(--data labelme="$data/labelme_facade")
teacher=(--data teacher_weights="$data/efficientvit.pt")
published=(--data edgetpu_weights="$data/edgetpu.npz")

says() { # says KEY: a text of the configuration's bundle, in one line
  awk -v key="  $1:" 'index($0, key) == 1 { on = 1; $0 = substr($0, length(key) + 1) }
    on && !/^ / && NR > 1 { on = 0 }
    on && /^  [a-z_]+:/ { on = 0 }
    on { gsub(/^ +| +$/, ""); if ($0 != ">-" && $0 != "") { printf "%s%s", sep, $0; sep = " " } }
  ' "config/$config.yaml"
}

export_network() { # export_network FOLDER CHECKPOINT ...: their mean
  local folder=$1
  shift
  [[ -e $folder/bundle.yaml ]] ||
    one bundle export --checkpoint "$@" "${as[@]}" --output "$folder" --name "$name" \
      --licence "$(says licence_of_weights)" --data-terms "$(says data_terms)"
}

as=(--half) # how a network is exported
if [[ $name == default ]]; then
  config=finetune_deeplabv3plus_mobilenet_edgetpu
  finetune ${config}_large "$runs/default.large" "${published[@]}"
  finetune ${config}_small "$runs/default.small" "${published[@]}" "${facade[@]}" "${teacher[@]}"
  export_network "$runs/default.mean" "$runs"/default.{large,small}/final.pth
  finetune $config "$runs/default.run" --data mean="$runs/default.mean/network.safetensors" \
    "${published[@]}" "${facade[@]}"
else
  config=finetune_efficientvit_seg_b0 as=() # float16 changes an entropy by 0.012
  finetune $config "$runs/fast.run" --data efficientvit_weights="$data/efficientvit.pt" \
    "${facade[@]}"
fi
export_network "$runs/$name.classes" "$runs/$name.run/final.pth"

# The decoder for outliers, beside the classes, which stay what they are.
config=finetune_outlier_head_$name
finetune $config "$runs/$name.head" "${facade[@]}" \
  --data "$name=$runs/$name.classes/network.safetensors"
as+=(--mix-head)
bundle=$runs/$name.network
export_network "$bundle" "$runs/$name.head/final.pth"

# The classifier's domains: frames that no network was trained on, with objects pasted that none was.
rows=()
domain() { # domain NAME [LAYOUT=FRAMES ...]: its segments; rendered scenes where no frames are named
  local domain=$1 sources=() frames overlay
  shift
  for frames in "$@"; do
    overlay=$runs/overlay_$domain.${frames%%=*}
    [[ -e $overlay/manifest.json ]] ||
      { rm -rf "$overlay" # what an interrupted one left
        one overlay --frames "$frames" --objects ecssd="$data/ecssd" --objects coco="$data/coco" \
          --split select --area 0.0005 0.06 --object-share 0.6 --output "$overlay"; }
    sources+=(--data folder="$overlay")
  done
  ((${#sources[@]})) || sources=(--scenes 30000:30120)
  rows+=("$runs/$name.rows/$domain")
  [[ -e $runs/$name.rows/$domain.done ]] ||
    { rm -rf "$runs/$name.rows/$domain"
      mkdir -p "$runs/$name.rows"
      train segments "$runs/$name.rows/$domain" --bundle "$bundle" "${sources[@]}" \
        --split "$domain" --threshold 0.4 0.5 0.6 0.7 0.8 0.85 0.9 \
        --core-threshold 0.95
      touch "$runs/$name.rows/$domain.done"; }
}
domain camvid camvid_select="$data/camvid" camvid_val="$data/camvid"
domain idd idd_lite_select="$data/idd_lite"
domain labelme labelme_facade_select="$data/labelme_facade"
domain motorway folder="$data/motorway"
domain scenes

# Each domain is left out in turn; how the operating point was chosen: docs/meta_classification.md.
[[ -e $runs/$name/bundle.yaml ]] ||
  one fit-meta "${rows[@]}" --bundle "$bundle" --output "$runs/$name" --report "$runs/$name.report" \
    --classifier gradient_boosting --group-by split --rule max_false --bound 1 \
    --entropy-threshold 0.8 --core-threshold 0.95 --only
echo "$runs/$name is the bundle, $runs/$name.report its report."
