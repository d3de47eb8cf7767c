"""Which COCO images become OoD proxies: the project's rules, the published ones, the subsets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from meta_ood_ros.core.classes import CITYSCAPES_NAMES
from meta_ood_training.datasets.sample import parse_background

AUTHORS_EIGHT = (
    'person',
    'bicycle',
    'car',
    'motorcycle',
    'bus',
    'truck',
    'traffic light',
    'stop sign',
)
"""Categories that the published code excludes. It forgets `train`, which Cityscapes knows."""
KNOWN_CATEGORIES = (*AUTHORS_EIGHT, 'train')
"""Categories that a network with Cityscapes' 19 classes knows (stop sign = traffic sign)."""


def same_case(name: str) -> str:
    """Return the name of a category or class as it is compared: tools write `Person`, too."""
    return ' '.join(name.replace('_', ' ').casefold().split())


def known_names(class_names: Sequence[str], of_cityscapes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the categories that a network knows: those given for Cityscapes', else its own."""
    is_cityscapes = tuple(class_names) == tuple(CITYSCAPES_NAMES)
    return of_cityscapes if is_cityscapes else tuple(class_names)


@dataclass(frozen=True)
class CocoRules:
    """
    Which COCO images become OoD proxies.

    Attributes
    ----------
    excluded_categories : tuple of str
        An image with an instance of one of these is left out as a whole.
    optional_categories : tuple of str
        Those of them that annotations may lack; all others are misspelt where they do.
    min_height, min_width : int
        Smaller images are left out [px]. The published code says 480; without it more scenes.
    min_share, max_share : float
        Bounds on the share of labelled OoD pixels, both inclusive: L-20 % is max_share 0.2,
        M-80 % is min_share 0.8.
    keep_empty : bool
        Whether an image without any instance stays; Runtas' L-20 % holds such images.
    background : str
        What unlabelled pixels are: `ignore` or `class:<name>`.

    """

    excluded_categories: tuple[str, ...] = KNOWN_CATEGORIES
    min_height: int = 0
    min_width: int = 0
    min_share: float = 0.0
    max_share: float = 1.0
    keep_empty: bool = False
    background: str = 'ignore'
    optional_categories: tuple[str, ...] = KNOWN_CATEGORIES

    def __post_init__(self) -> None:
        if not 0 <= self.min_share <= self.max_share <= 1:
            raise ValueError(
                f'min_share and max_share must satisfy 0 <= min <= max <= 1, got '
                f'{self.min_share} and {self.max_share}. They are shares of pixels, not per cent.'
            )
        parse_background(self.background)


OUR_RULES = CocoRules()
"""Every image without a known object, of any size."""
PUBLISHED_RULES = CocoRules(AUTHORS_EIGHT, 480, 480, background='class:road')
"""What the published code does."""


def informative_rules(name: str, rules: CocoRules = OUR_RULES) -> CocoRules:
    """
    Return the rules of Runtas' informative subsets.

    Parameters
    ----------
    name : str
        `L-20%` (at most 20 % labelled, images without instances included) or `M-80%` (at least
        80 %).
    rules : CocoRules
        All other rules.

    Returns
    -------
    CocoRules

    """
    if name == 'L-20%':
        return replace(rules, max_share=0.2, min_share=0.0, keep_empty=True)
    if name == 'M-80%':
        return replace(rules, min_share=0.8, max_share=1.0)
    raise ValueError(f"an informative subset must be 'L-20%' or 'M-80%', got {name!r}.")
