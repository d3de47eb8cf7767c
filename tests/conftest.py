"""Where the tests find data that is not part of the project; without it they skip."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get('META_OOD_SHARED', REPOSITORY.parent / 'shared'))


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
def reference_dir() -> Path:
    """Return the folder with the published key lists, or skip."""
    return _shared('reference')


@pytest.fixture(scope='session')
def repository() -> Path:
    """Return the root of the source tree."""
    return REPOSITORY
