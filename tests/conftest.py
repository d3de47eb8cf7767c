"""Where the tests find data that is not part of the project; without it they skip."""

from importlib.util import find_spec
import os
from pathlib import Path
import signal

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get('META_OOD_SHARED', REPOSITORY.parent / 'shared'))

NO_TRAINING = find_spec('meta_ood_training') is None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave the training half out on a machine that has only the robot's."""
    return True if NO_TRAINING and collection_path.name == 'training' else None


def pytest_report_header() -> list[str]:
    """Say so above the results."""
    return ['tests/training: left out, meta_ood_training is not installed'] * NO_TRAINING


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores SIGINT, and so would every program that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _shared(folder: str) -> Path:
    path = SHARED / folder
    if not path.is_dir():
        pytest.skip(f'{folder} is not at hand: set META_OOD_SHARED to the folder that holds it')
    return path


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """Return the folder with the real data sets, or skip."""
    return _shared('data')


@pytest.fixture(scope='session')
def cases_dir() -> Path:
    """Return the folder with small inputs that went wrong once, or skip."""
    return _shared('cases')


@pytest.fixture(scope='session')
def reference_dir() -> Path:
    """Return the folder with the published key lists, or skip."""
    return _shared('reference')


@pytest.fixture(scope='session')
def cases() -> Path:
    """Return the folder with inputs that went wrong somewhere, or skip."""
    return _shared('cases')


@pytest.fixture(scope='session')
def case_bags() -> Path:
    """Return the folder with bags as users reported them, or skip."""
    return _shared('cases/bags')


@pytest.fixture(scope='session')
def repository() -> Path:
    """Return the root of the source tree."""
    return REPOSITORY


def make_tiny_bundle(*, seed: int = 0, **changes):
    """Return a bundle with a small random network and a random meta classifier, 19 classes."""
    from meta_ood_ros.core.bundle import Bundle
    from meta_ood_ros.core.classes import CITYSCAPES_COLORS, CITYSCAPES_NAMES
    from meta_ood_ros.core.meta_classifier import MetaClassifier
    from meta_ood_ros.core.meta_models.dense_layers import DenseLayers
    from meta_ood_ros.core.networks import build_network
    from meta_ood_ros.core.segment_metrics import metric_names
    import numpy as np
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network('espnet_v2', num_classes=19, scale=0.5)
    rng = np.random.default_rng(seed)
    classifier = MetaClassifier(
        kind='logistic_regression',
        model=DenseLayers(
            ((rng.normal(size=(1, 75)), np.zeros(1)),), np.full(75, 0.1), np.full(75, 100.0)
        ),
        metric_names=metric_names(19),
        entropy_threshold=0.5,
    )
    arguments = {
        'name': 'tiny',
        'architecture': 'espnet_v2',
        'arguments': {'scale': 0.5},
        'class_names': CITYSCAPES_NAMES,
        'class_colors': CITYSCAPES_COLORS,
        'entropy_threshold': 0.5,
        'meta_threshold': 0.5,
        'work_short_side': 96,
        'weights': network.state_dict(),
        'meta_classifiers': (classifier,),
    }
    return Bundle(**(arguments | changes))


@pytest.fixture(scope='session')
def tiny_bundle():
    """Return a bundle with a small random network and a random meta classifier, 19 classes."""
    return make_tiny_bundle()
