"""
Things that no class of the network names; 'train' and 'test' share no family of shapes.

`shapes_for_training`, `shapes_for_testing`  families -> a sketch
`coats`                                      its colours and patterns
"""

import cv2
from meta_ood_ros.scenes.canvas import Sprite
from meta_ood_ros.scenes.unknown.coats import wear_coat
from meta_ood_ros.scenes.unknown.shapes_for_testing import TEST_SHAPES
from meta_ood_ros.scenes.unknown.shapes_for_training import TRAIN_SHAPES
import numpy as np

__all__ = ['SCENE_SPLITS', 'random_unknown']

# split -> family name -> (how to draw it, smallest and largest height [m])
SCENE_SPLITS = {'train': TRAIN_SHAPES, 'test': TEST_SHAPES}


def random_unknown(
    rng: np.random.Generator, split: str, sun: float
) -> tuple[str, Sprite, float, float]:
    """Return an unknown thing."""
    families = SCENE_SPLITS[split]
    family = list(families)[rng.integers(len(families))]
    draw, smallest, largest = families[family]
    sketch = draw(rng)
    wear_coat(rng, sketch)
    sketch.rounded(sun, 0.6)
    if rng.random() < 0.5:
        sketch.mirror()
    _keep_largest_piece(sketch.alpha)
    height = float(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
    return family, sketch.sprite(rng), height * sketch.size[1] / sketch.size[0], height


def _keep_largest_piece(alpha: np.ndarray) -> None:
    """Make everything transparent that hangs loose, in place."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(
        (alpha >= 128).astype(np.uint8), connectivity=8
    )
    if count > 2:
        largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
        alpha[(pieces != largest) & (pieces != 0)] = 0
