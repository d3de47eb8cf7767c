"""A small bundle, synthetic segment tables, a training run small enough for a test."""

from collections.abc import Callable
from pathlib import Path

import cv2
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle, save_bundle
from meta_ood_ros.core.networks import build_network
from meta_ood_ros.core.segment_metrics import metric_names
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
import torch

CLASSES = ('road', 'building', 'sky')


@pytest.fixture(scope='session')
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a network of three classes with random weights whose entropy varies over the image."""
    torch.manual_seed(0)
    network = build_network('espnet_v2', num_classes=len(CLASSES), scale=0.5)
    weights = dict(network.state_dict())
    # random logits are all alike: stretch the last layer until their spread is 1.5
    with torch.no_grad():
        spread = network.eval()(torch.randn(1, 3, 64, 96)).std()
    weights['bu_dec_l4.merge_layer.3.weight'] *= 1.5 / float(spread)
    bundle = Bundle(
        name='small',
        architecture='espnet_v2',
        arguments={'scale': 0.5},
        class_names=CLASSES,
        class_colors=((128, 64, 128), (70, 70, 70), (70, 130, 180)),
        entropy_threshold=0.7,
        weights=weights,
    )
    path = tmp_path_factory.mktemp('bundles') / 'small'
    save_bundle(bundle, path)
    return path


@pytest.fixture(scope='session')
def make_segments(
    small_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Return a function that writes a folder of segments of known distribution."""
    from meta_ood_training.segments.table import FrameRows, SegmentTableWriter, write_sidecar

    network = load_bundle(small_bundle).network_sha256
    names = metric_names(len(CLASSES))

    def make(
        images: int = 40,
        *,
        thresholds: tuple[float, ...] = (0.5, 0.7),
        separation: float = 2.0,
        true_share: float = 0.4,
        false_rate: float = 4.0,
        seed: int = 0,
        edit: Callable[[np.ndarray, np.ndarray], None] | None = None,
        group: Callable[[int], str] = lambda image: f'block{image // 4}',
        with_object: Callable[[int], bool] | None = None,
        **sidecar: object,
    ) -> Path:
        rng = np.random.default_rng(seed)
        folder = tmp_path_factory.mktemp('segments')
        writer = SegmentTableWriter(folder, names)
        for image in range(images):
            has_object = rng.random() < true_share
            if with_object is not None:
                has_object = with_object(image)
            pieces, overlaps = [], []
            for threshold in thresholds:
                false = rng.poisson(false_rate * (1.2 - threshold))
                is_true = np.array([True] * has_object + [False] * false, dtype=bool)
                count = len(is_true)
                metrics = rng.standard_normal((count, len(names)))
                metrics *= np.exp(rng.standard_normal((count, 1)) / 4)
                metrics[:, 5] += separation * is_true
                metrics[:, 7] -= separation / 2 * is_true
                if edit is not None:
                    edit(metrics, is_true)
                size = rng.integers(5, 3000, count)
                pieces.append(
                    {
                        'entropy_threshold': np.full(count, threshold),
                        'segment': np.arange(1, count + 1),
                        'is_true_ood': is_true,
                        'adjusted_iou': np.where(is_true, 0.5, 0.0),
                        'size_px': size,
                        'void_px': np.zeros(count, int),
                        'ood_px': np.where(is_true, size // 2, 0),
                        'road_px': np.where(is_true, 0, size // 3),
                        'in_distribution_px': np.where(is_true, size - size // 2, size),
                        'left_out': np.zeros(count, bool),
                        **{name: metrics[:, column] for column, name in enumerate(names)},
                    }
                )
                true = np.flatnonzero(is_true)
                overlaps.append(
                    {
                        'entropy_threshold': np.full(len(true), threshold),
                        'segment': true + 1,
                        'object': np.ones(len(true), int),
                        'overlap_px': size[true] // 2,
                    }
                )
            writer.write(
                FrameRows(
                    frame={
                        'frame': image,
                        'image': f'made/{image}',
                        'group': group(image),
                        'split': 'fit' if image % 2 else 'select',
                        'stamp_ns': None,
                        'height': 100,
                        'width': 200,
                        'road_px': 8000,
                        'in_distribution_px': 19000,
                        'ood_px': 1000 * has_object,
                        'void_px': 0,
                    },
                    segments=_join(pieces),
                    objects={'object': [1] * has_object, 'size_px': [1500] * has_object},
                    overlaps=_join(overlaps),
                )
            )
        writer.close()
        write_sidecar(
            folder,
            {
                'model_id': 'small@0',
                'network_sha256': network,
                'score': 'entropy',
                'entropy_thresholds': list(thresholds),
                'metric_names': list(names),
                'connectivity': 8,
                'label_rule': 'deployed',
                'void_rule': 'segments over the whole image',
                'sources': [
                    {'title': 'made', 'frames': images, 'region_of_interest': 'everything'}
                ],
                'min_size_px': 0,
                'work_short_side': 0,
                'missed_object_unit': ['instance'],
                'parts': 1,
                'command': 'made by a test',
                **sidecar,
            },
        )
        return folder

    return make


def _join(pieces: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([one[name] for one in pieces]) for name in pieces[0]}


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
