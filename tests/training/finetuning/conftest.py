"""A training run small enough for a test: ESPNetv2 of width 0.5 on drawn frames of 64 x 96 px."""

import cv2
from meta_ood_training.finetuning.config import (
    FinetuneConfig,
    NetworkConfig,
    ObjectiveConfig,
    OptimizerConfig,
    ProxyConfig,
    StreetConfig,
    TrainingConfig,
    ValidationConfig,
)
from meta_ood_training.finetuning.data.augmentation import AugmentationSettings
from meta_ood_training.finetuning.data.mixing import MixingSettings
import numpy as np
import pytest

QUIET = {'enable_progress_bar': False, 'enable_model_summary': False, 'accelerator': 'cpu'}


def write_camvid(root):
    """Draw frames in CamVid's layout: sky over road, and a car. Six frames train, five select."""
    # Named like CamVid's: the select block of this sequence begins at its 76th training frame.
    for split, frames in (('train', (*range(6), *range(75, 80))), ('val', range(6))):
        for kind in ('images', 'labels'):
            (root / split / kind).mkdir(parents=True)
        for number in frames:
            rng = np.random.default_rng((len(split), number))
            label = np.zeros((64, 96), np.uint8)
            label[28:] = 3
            left = int(rng.integers(10, 60))
            label[26:40, left : left + 20] = 8
            colours = np.zeros((12, 3)) + 128
            colours[[0, 3, 8]] = [[200, 220, 240], [90, 90, 95], [160, 30, 40]]
            image = colours[label] + rng.normal(0, 8, (64, 96, 3))
            name = f'0006R0_f{930 + 30 * number:05d}.png'
            pixels = np.clip(image, 0, 255).astype(np.uint8)[..., ::-1]
            cv2.imwrite(str(root / split / 'images' / name), pixels)
            cv2.imwrite(str(root / split / 'labels' / name), label)
    return root


def write_ecssd(root, images=64):
    """Draw discs of loud colours on grey, with their masks in ECSSD's layout."""
    for kind in ('images', 'masks'):
        (root / kind).mkdir(parents=True)
    for number in range(images):
        rng = np.random.default_rng((7, number))
        mask = np.zeros((80, 100), np.uint8)
        cv2.circle(mask, (50, 40), int(rng.integers(20, 34)), 1, -1)
        image = np.full((80, 100, 3), 128.0) + rng.normal(0, 5, (80, 100, 3))
        image[mask > 0] = rng.uniform(0, 255, 3) + rng.normal(0, 25, (int(mask.sum()), 3))
        name = f'{number:04d}'
        pixels = np.clip(image, 0, 255).astype(np.uint8)
        cv2.imwrite(str(root / 'images' / f'{name}.png'), pixels)
        cv2.imwrite(str(root / 'masks' / f'{name}.png'), mask)
    return root


def make_small_config(root, *, validation=False, **training):
    """Return the configuration of a run on data drawn under `root`."""
    camvid, ecssd = root / 'camvid', root / 'ecssd'
    if not camvid.is_dir():
        write_camvid(camvid)
        write_ecssd(ecssd)
    settings = TrainingConfig(
        **{'epochs': 2, 'batch_size': 2, 'workers': 0, 'seed': 5, 'resume_steps': 2, **training}
    )
    return FinetuneConfig(
        network=NetworkConfig('espnet_v2', {'scale': 0.5}, 19),
        street=(StreetConfig('camvid_fit', 'camvid'),),
        objects=(ProxyConfig('ecssd', 'ecssd'),),
        proxies=(ProxyConfig('ecssd', 'ecssd'),),
        objective=ObjectiveConfig(0.3),
        mixing=MixingSettings(proxies_per_street_image=0.4, paste_probability=1.0, max_objects=2),
        augmentation=AugmentationSettings(crop=48, brightness=0.2, noise_probability=0.5),
        optimizer=OptimizerConfig(learning_rate=2e-3, schedule='cosine', warmup_steps=2),
        training=settings,
        validation=ValidationConfig(
            every_steps=3,
            camvid='camvid',
            ecssd='ecssd',
            frames=2,
            short_side=64,
            mean_iou_loss=1.0,
        )
        if validation
        else None,
        data={'camvid': str(camvid), 'ecssd': str(ecssd)},
    )


@pytest.fixture
def save_numbered():
    """Return a function that saves weights as the published file of MobileNet-EdgeTPU does."""

    def save(network, path):
        values = [value.numpy() for value in network.state_dict().values()]
        names = [f'{i // 2:03}_{("weight", "bias")[i % 2]}' for i in range(len(values))]
        np.savez(path, **dict(zip(names, values, strict=True)))

    return save


@pytest.fixture
def quiet():
    """Return options of Lightning's Trainer for a silent run on the CPU."""
    return dict(QUIET)


@pytest.fixture
def small_config(tmp_path):
    """Return a function that makes the configuration of a run on drawn data."""

    def make(**options):
        return make_small_config(tmp_path, **options)

    return make
