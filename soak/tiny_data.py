"""Data on which every verb ends in a second or two: drawn frames, discs, a small network."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import save_bundle
from meta_ood_ros.core.classes import CITYSCAPES_COLORS, CITYSCAPES_NAMES
from meta_ood_ros.core.networks import build_network
import numpy as np
import torch
import yaml

_SIZE = (64, 96)
_CONFIG = {
    'network': {'architecture': 'espnet_v2', 'arguments': {'scale': 0.5}, 'num_classes': 19},
    'street': [{'layout': 'scenes', 'count': 8, 'short_side': 64, 'targets': 'labels'}],
    'proxies': [{'layout': 'ecssd', 'data': 'ecssd'}],
    'objective': {'ood_loss_weight': 0.3},
    'mixing': {'proxies_per_street_image': 0.5},
    'augmentation': {'crop': 48},
    'training': {'epochs': 2, 'batch_size': 2, 'workers': 0, 'resume_steps': 1},
    'bundle': {'licence_of_weights': 'none: random weights'},
}


def draw_all(folder: Path) -> None:
    """Write frames with labels, discs with masks, a configuration, two checkpoints, a bundle."""
    rng = np.random.default_rng(0)
    for part in ('frames/images', 'frames/labels', 'ecssd/images', 'ecssd/masks'):
        (folder / part).mkdir(parents=True)
    target = np.zeros(_SIZE, np.uint8)
    target[20:40, 20:50], target[:3], target[45:, 70:] = 13, 255, 254
    frames = []
    for number in range(12):
        name = f'f{number:02d}'
        image = rng.integers(0, 255, (*_SIZE, 3)).astype(np.uint8)
        _write(folder / f'frames/images/{name}.png', image)
        _write(folder / f'frames/labels/{name}.png', target)
        frames.append({'name': name, 'group': f'block{number // 2}'})
    (folder / 'frames/manifest.json').write_text(json.dumps({'frames': frames}))
    for number in range(64):
        mask = cv2.circle(np.zeros((80, 80), np.uint8), (40, 40), 20 + number % 15, 255, -1)
        image = np.where(mask[..., None] > 0, [10, 200, 4 * number], 128).astype(np.uint8)
        _write(folder / f'ecssd/images/{number:04d}.png', image)
        _write(folder / f'ecssd/masks/{number:04d}.png', mask)
    (folder / 'finetune.yaml').write_text(yaml.safe_dump(_CONFIG))
    for version in range(2):
        torch.save(make_bundle(version).weights, folder / f'{version}.pth')
    save_bundle(make_bundle(0), folder / 'network')


def make_bundle(version: int) -> Bundle:
    """Return a bundle of random weights whose entropy varies over an image."""
    with torch.random.fork_rng():
        torch.manual_seed(version)
        network = build_network('espnet_v2', num_classes=19, scale=0.5).eval()
        with torch.no_grad():
            spread = network(torch.randn(1, 3, *_SIZE)).std()
    weights = dict(network.state_dict())
    weights['bu_dec_l4.merge_layer.3.weight'] *= 2.5 / float(spread)
    return Bundle(
        name=f'version{version}',
        architecture='espnet_v2',
        arguments={'scale': 0.5},
        class_names=CITYSCAPES_NAMES,
        class_colors=CITYSCAPES_COLORS,
        entropy_threshold=0.7,
        work_short_side=64,
        weights=weights,
    )


def _write(path: Path, image: np.ndarray) -> None:
    _, code = cv2.imencode('.png', image)
    path.write_bytes(code.tobytes())
