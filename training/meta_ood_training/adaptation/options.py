"""What may be chosen when a bundle is adapted, for `adapt` and for its verb."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meta_ood_training.plain_arguments import as_tuple

SMALLEST_RECORDING = 30
"""Frames without which there is nothing to share out."""


@dataclass(frozen=True)
class AdaptOptions:
    """
    Recordings of a new domain, what is known of them, and how much work to spend.

    Where several are possible, one alone may be given as it is.

    Attributes
    ----------
    bags, videos, images : tuple of Path
        ROS 2 bags, video files, folders of images in the order of their names.
    topic : str
        Of the bags; the only one with images where empty.
    mask : Path or None
        PNG of the size of the frames, above 0 where nothing counts: the robot's own body.
    masks : Path or None
        Folder of such PNG for single frames, `<recording>/<frame>.png`.
    objects : tuple of str
        Unknown objects to paste, NAME=PATH with NAME `folder`, `coco` or `ecssd`; rendered ones
        where empty.
    false_per_minute : float
        How many false segments a minute the thresholds may let through.
    rate : float
        Frames that the robot will process a second.
    frames : int
        So many frames of all recordings together are used, evenly spaced in time.
    steps : int
        Of training.
    sure : float
        The starting network teaches where its largest softmax probability is at least this.
    thresholds : tuple of float
        Entropy thresholds among which one is chosen.
    scenes : int
        Rendered streets that the old domain is measured on, and as many again as a third of the
        training frames that keep it in mind; 0 for none. Only where the bundle has Cityscapes'
        classes.
    overrides : tuple of str
        `key=value` of the configuration of `finetune`.
    seed : int
        Decides objects, places and the order of training.
    device : str
        'auto', 'cpu', 'cuda' or 'cuda:N'.

    Raises
    ------
    ValueError
        On construction, where a number cannot be meant.

    """

    bags: tuple[Path, ...] = ()
    videos: tuple[Path, ...] = ()
    images: tuple[Path, ...] = ()
    topic: str = ''
    mask: Path | None = None
    masks: Path | None = None
    objects: tuple[str, ...] = ()
    false_per_minute: float = 10.0
    rate: float = 5.0
    frames: int = 600
    steps: int = 600
    sure: float = 0.5
    thresholds: tuple[float, ...] = (0.4, 0.5, 0.6, 0.7, 0.8)
    scenes: int = 40
    overrides: tuple[str, ...] = ()
    seed: int = 0
    device: str = 'auto'

    def __post_init__(self) -> None:
        kinds: dict[str, Any] = {
            **dict.fromkeys(('bags', 'videos', 'images'), Path),
            **dict.fromkeys(('objects', 'overrides'), str),
            'thresholds': float,
        }
        for name, kind in kinds.items():
            object.__setattr__(self, name, as_tuple(getattr(self, name), kind))
        for name in ('mask', 'masks'):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Path(getattr(self, name)))
        for name, is_valid, meaning in (
            ('false_per_minute', self.false_per_minute >= 0, 'at least 0'),
            ('rate', self.rate > 0, 'positive'),
            ('frames', self.frames >= SMALLEST_RECORDING, f'at least {SMALLEST_RECORDING}'),
            ('steps', self.steps >= 1, 'at least 1'),
            ('sure', 0 <= self.sure < 1, 'in [0, 1)'),
            ('scenes', self.scenes >= 0, 'at least 0'),
            ('seed', self.seed >= 0, 'at least 0'),
        ):
            if not is_valid:
                raise ValueError(
                    f'--{name.replace("_", "-")} must be {meaning}, got {getattr(self, name):g}. '
                    'adapt --help names the default.'
                )
        if not self.thresholds or not all(0 < one <= 1 for one in self.thresholds):
            raise ValueError(
                f'--thresholds must lie in (0, 1], got {list(self.thresholds)}. They are shares '
                'of the largest entropy.'
            )

    @property
    def false_per_frame(self) -> float:
        """Return the bound on false segments for one frame."""
        return self.false_per_minute / (60 * self.rate)

    def as_facts(self) -> dict[str, Any]:
        """Return plain values: what a run that is resumed must have in common."""
        plain = asdict(self)
        return {
            name: [str(one) if isinstance(one, Path) else one for one in value]
            if isinstance(value, tuple)
            else str(value)
            if isinstance(value, Path)
            else value
            for name, value in plain.items()
        }
