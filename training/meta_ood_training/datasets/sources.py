"""Which source images of OoD objects serve training, selection and test: fixed by their name."""

import hashlib

SPLITS = ('train', 'select', 'test')

SHARES = {
    'ecssd': (0.65, 0.10, 0.25),
    'coco': (0.50, 0.10, 0.40),
    # One's own are tested on what was recorded for it, not on a share of them.
    'folder': (0.80, 0.20, 0.0),
    'objects': (0.80, 0.20, 0.0),
}
"""Expected shares of train, select and test by data set; others use DEFAULT_SHARES."""
DEFAULT_SHARES = (0.65, 0.10, 0.25)


def source_split(dataset: str, name: str) -> str:
    """
    Return the split that a source image belongs to, for good.

    Parameters
    ----------
    dataset : str
        `ecssd`, `coco` or another stable word.
    name : str
        Name of the image within it.

    Returns
    -------
    str
        `train`, `select` or `test`.

    Notes
    -----
    The first eight bytes of SHA-256 of '<dataset>/<name>' as a fraction of 2**64, compared with
    the summed shares. So the split needs no file, does not depend on what else is at hand, and
    an image keeps its side when more are added. Objects of one image are never torn apart.

    """
    digest = hashlib.sha256(f'{dataset}/{name}'.encode()).digest()
    place = int.from_bytes(digest[:8], 'big') / 2**64
    train, select, _ = SHARES.get(dataset, DEFAULT_SHARES)
    if place < train:
        return 'train'
    return 'select' if place < train + select else 'test'


def in_split(dataset: str, name: str, split: str) -> bool:
    """Return whether a source image belongs to a split."""
    if split == 'all':
        return True
    if split not in SPLITS:
        raise ValueError(f'split of {dataset} must be all, train, select or test, got {split!r}.')
    return source_split(dataset, name) == split
