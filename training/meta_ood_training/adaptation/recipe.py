"""Starting bundle + places of frames and objects -> the configuration of `finetune`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
import json
from pathlib import Path

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.files.whole_files import write_whole
from meta_ood_training.adaptation.options import AdaptOptions
from meta_ood_training.adaptation.unknown import UnknownObjects
from meta_ood_training.finetuning.config import (
    FinetuneConfig,
    NetworkConfig,
    ObjectiveConfig,
    OptimizerConfig,
    StreetConfig,
    TrainingConfig,
)
from meta_ood_training.finetuning.data.augmentation import AugmentationSettings
from meta_ood_training.finetuning.data.hard_negatives import HardNegativeSettings
from meta_ood_training.finetuning.data.mixing import MixingSettings
from meta_ood_training.finetuning.data.pasting import PasteSettings
from meta_ood_training.finetuning.run_config import open_config
import yaml

START, FRAMES, SCENES = 'start', 'frames', 'scenes'
"""Names under `data`: starting bundle, taught frames, and scenes as they are drawn."""
_SCENE_SHARE = 1 / 3
_BATCH = 4


def make_recipe(
    bundle: Bundle,
    options: AdaptOptions,
    objects: UnknownObjects,
    frames: int,
    *,
    scenes: bool,
) -> FinetuneConfig:
    """
    Return what adapts a network to `frames` taught frames.

    Notes
    -----
    Low learning rate, frozen statistics and averaged weights: little shall be forgotten. There
    is no validation: nothing of the recording that is not trained on is labelled with classes.

    """
    side = bundle.work_short_side
    street = [StreetConfig('folder', FRAMES, targets='sure', short_side=side)]
    if scenes:
        count = max(round(_SCENE_SHARE * frames), 1)
        street.append(StreetConfig('scenes', SCENES, count=count, short_side=side))
    length = frames + (street[1].count if scenes else 0)
    return FinetuneConfig(
        network=NetworkConfig(
            bundle.architecture, dict(bundle.arguments), bundle.num_classes, weights=START
        ),
        street=tuple(street),
        objects=objects.configs,
        objective=ObjectiveConfig(0.25),
        mixing=MixingSettings(proxies_per_street_image=0.0, paste_probability=0.8, max_objects=3),
        augmentation=AugmentationSettings(
            crop=352,
            scale_min=0.7,
            scale_max=1.4,
            brightness=0.25,
            contrast=0.25,
            saturation=0.3,
            hue=0.02,
            blur_probability=0.2,
            noise_probability=0.2,
            jpeg_probability=0.3,
        ),
        pasting=PasteSettings(area_min=0.001, area_max=0.2, top=0.3),
        hard_negatives=HardNegativeSettings(shadow_probability=0.2),
        optimizer=OptimizerConfig(
            learning_rate=1e-4, schedule='cosine', warmup_steps=min(20, options.steps // 5)
        ),
        training=TrainingConfig(
            epochs=options.steps * _BATCH // (length - length % _BATCH or _BATCH) + 1,
            max_steps=options.steps,
            batch_size=_BATCH,
            frozen_batch_norm=True,
            dropout=False,
            average_decay=0.98,
            workers=1,
            seed=options.seed,
        ),
    )


def open_recipe(
    config: FinetuneConfig, path: Path, options: AdaptOptions, data: Mapping[str, Path | str]
) -> FinetuneConfig:
    """Return the configuration with the user's own values in it; it is kept as YAML."""
    plain = json.loads(json.dumps(asdict(config)))
    plain.pop('validation')
    write_whole(path, yaml.safe_dump(plain, sort_keys=False))
    return open_config(path, data, options.overrides)
