"""Rendered streets with exact labels: what a network with Cityscapes' classes knew before."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
from meta_ood_ros.core.files.image_file import write_image_file
from meta_ood_ros.core.files.whole_folders import replace_folder
from meta_ood_training.finetuning.data.scene_samples import SceneSamples

FIRST_SEED = 900_000
"""Far from the seeds that training draws."""


def write_scenes(output: Path, count: int) -> None:
    """Write scenes with objects of the families for testing, in the plain layout."""
    scenes = SceneSamples(count, first_seed=FIRST_SEED, split='test')
    with replace_folder(output) as folder:
        for part in ('images', 'labels'):
            (folder / part).mkdir()
        for index in range(count):
            sample = scenes[index]
            pixels = cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR)
            write_image_file(folder / 'images' / f'{sample.name}.png', pixels)
            write_image_file(folder / 'labels' / f'{sample.name}.png', sample.target)
        frames = [{'name': name, 'group': name} for name in scenes.names]
        text = json.dumps({'frames': frames})
        (folder / 'manifest.json').write_text(text + '\n', encoding='utf-8')
