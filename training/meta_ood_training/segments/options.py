"""What to extract: frames with ground truth, entropy thresholds, and how labels count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meta_ood_training.plain_arguments import as_tuple, check_choice

SHAPES = ('train', 'test')


@dataclass(frozen=True)
class ExtractionOptions:
    """
    Frames with ground truth, and how their segments are found.

    Where several are possible, one alone may be given as it is.

    Attributes
    ----------
    data : tuple of str
        Data sets, '[SPLIT:]NAME=PATH': 'camvid_fit=data/camvid', 'select:folder=runs/overlay'.
    scenes : tuple of str
        Seeds of rendered scenes, 'FIRST:END'.
    scene_shapes : str
        Families of their objects, 'train' or 'test'.
    bags : tuple of Path
        ROS 2 bags (.mcap, .db3).
    limit : int
        Only so many frames a source; 0 takes all.
    image_topic : str
        Of the bags; the only one with images where empty.
    label_topic : str
        mono8 ground truth of the same stamps.
    label_folder : Path or None
        Ground truth PNG instead, named <seconds>_<nanoseconds>.png.
    recorded : str
        Topic of recorded ~/segments with metrics, taken instead of running the network.
    recorded_ids : str
        Topic of their ~/segment_ids (mono16).
    block_seconds : float
        Length of a group of frames of a bag.
    thresholds : tuple of float
        Entropy thresholds in (0, 1]; that of the bundle where empty.
    core_thresholds : tuple of float
        Where the segments of each lower entropy threshold are cut as if all were accepted, in
        (0, 1]: what is published of them is in two more tables.
    label_rule : str
        How void pixels count, 'deployed' or 'published'.
    split : str
        Value of the column split.
    device, backend : str
        How the network runs, see `load_backend`.

    Raises
    ------
    ValueError
        On construction, where a value is none of those known.

    """

    data: tuple[str, ...] = ()
    scenes: tuple[str, ...] = ()
    scene_shapes: str = 'train'
    bags: tuple[Path, ...] = ()
    limit: int = 0
    image_topic: str = ''
    label_topic: str = ''
    label_folder: Path | None = None
    recorded: str = ''
    recorded_ids: str = ''
    block_seconds: float = 10.0
    thresholds: tuple[float, ...] = ()
    core_thresholds: tuple[float, ...] = ()
    label_rule: str = 'deployed'
    split: str = 'fit'
    device: str = 'auto'
    backend: str = 'auto'

    def __post_init__(self) -> None:
        kinds: dict[str, Any] = {
            **dict.fromkeys(('data', 'scenes'), str),
            'bags': Path,
            **dict.fromkeys(('thresholds', 'core_thresholds'), float),
        }
        for name, kind in kinds.items():
            object.__setattr__(self, name, as_tuple(getattr(self, name), kind))
        if self.label_folder is not None:
            object.__setattr__(self, 'label_folder', Path(self.label_folder))
        from meta_ood_ros.core.bundle import LABEL_RULES  # it loads PyTorch: not for --help

        check_choice('--scene-shapes', self.scene_shapes, SHAPES)
        check_choice('--label-rule', self.label_rule, LABEL_RULES)
        if self.recorded and self.core_thresholds:
            raise ValueError(
                '--core-threshold needs the network, got --recorded: a record holds what was '
                'published at one setting, not the scores that cores are cut from. Leave one of '
                'them out.'
            )
        if self.limit < 0:
            raise ValueError(f'--limit must be at least 0, got {self.limit}. 0 takes all frames.')
        if not self.block_seconds > 0:
            raise ValueError(
                f'--block-seconds must be positive, got {self.block_seconds:g}. Ten is usual.'
            )
