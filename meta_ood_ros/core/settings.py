"""Settings of the method and of the node: the one home of every default, validated once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
import re

from meta_ood_ros.core.files.image_file import MAX_PIXELS
from meta_ood_ros.core.places.settings import PlaceSettings
from meta_ood_ros.core.validated_field import check_setting, outside, setting

#: The value that stands for 'what the bundle says'.
FROM_BUNDLE = -1.0

#: Least and greatest short side of the grid on which a network works, in pixels.
SHORT_SIDES = (64, 4096)

#: Per-pixel scores that can be thresholded into OoD segments.
SCORES = (
    'entropy',
    'msp',
    'margin',
    'variation_ratio',
    'max_logit',
    'energy',
    'standardized_max_logit',
    'vim',
)


@dataclass(frozen=True)
class PipelineSettings:
    """
    What a user may change about the method; all sizes are in pixels of the work grid.

    Raises
    ------
    ValueError
        On construction, for a value outside its range; the message names range and value.

    """

    entropy_threshold: float = setting(
        FROM_BUNDLE,
        'A pixel is OoD where its normalized entropy (a share of log C) is at least this; '
        '-1 takes the value of the bundle.',
        minimum=-1.0,
        maximum=1.0,
        live=True,
        allowed='(0, 1]',
        hint='It is a share of log C, not a percentage; -1 takes the value of the bundle.',
    )
    meta_threshold: float = setting(
        FROM_BUNDLE,
        'A segment is accepted where its ood_probability is at least this; 0 accepts all, '
        '1 none, -1 takes the value of the bundle.',
        minimum=-1.0,
        maximum=1.0,
        live=True,
        allowed='[0, 1]',
        hint='It is a probability; -1 takes the value of the bundle.',
    )
    core_threshold: float = setting(
        FROM_BUNDLE,
        'An accepted segment is published as its cores, the parts of at least this entropy; as it '
        'is where it has none. 0, or not above entropy_threshold: always as it is; -1 takes the '
        'value of the bundle.',
        minimum=-1.0,
        maximum=1.0,
        live=True,
        allowed='[0, 1]',
        hint='It is a share of log C, not a percentage; -1 takes the value of the bundle.',
    )
    min_size_px: int = setting(
        0,
        'Smaller segments are dropped before numbering; 0 takes the value of the bundle. '
        'The node counts pixels of the received image, the core those of the work grid.',
        minimum=0,
        maximum=10_000_000,
        live=True,
        unit='px',
    )
    work_short_side: int = setting(
        -1,
        'Short side of the grid on which the network works; -1 takes the value of the bundle, '
        '0 works at the size received, else 64 to 4096.',
        minimum=-1,
        maximum=SHORT_SIDES[1],
        unit='px',
        allowed='{-1, 0} or [64, 4096]',
        hint='-1 takes the value of the bundle, 0 works at the size received.',
    )
    max_work_pixels: int = setting(
        0,
        'Images whose grid would have more pixels are dropped, as those that are long and narrow; '
        'memory and time grow with it. 0 allows 2^20, an image of 4:1 at a larger '
        'work_short_side, or 4K video where that is 0.',
        minimum=0,
        maximum=1 << 27,
        live=True,
        unit='px',
    )
    score: str = setting(
        '',
        'Per-pixel score that is thresholded into OoD segments and published on ~/entropy, in '
        '[0, 1]; empty takes that of the bundle. entropy_threshold and core_threshold are of this '
        'score: for a fitted one, a threshold t passes a share 1 - t of in-distribution pixels.',
        choices=(*SCORES, ''),
    )

    def __post_init__(self) -> None:
        """Check every field; a frozen instance is therefore always valid."""
        for owner in fields(self):
            object.__setattr__(self, owner.name, check_setting(owner, getattr(self, owner.name)))
        holes = {
            'entropy_threshold': -1.0 < self.entropy_threshold <= 0.0,
            'meta_threshold': -1.0 < self.meta_threshold < 0.0,
            'core_threshold': -1.0 < self.core_threshold < 0.0,
            'work_short_side': 0 < self.work_short_side < SHORT_SIDES[0],
        }
        for owner in fields(self):
            if holes.get(owner.name):
                raise outside(owner, getattr(self, owner.name))


@dataclass(frozen=True)
class NodeSettings(PlaceSettings, PipelineSettings):
    """
    The parameters of the ROS node: those of the pipeline and those of its surroundings.

    Raises
    ------
    ValueError
        On construction, for a value outside its range; the message names range and value.

    """

    autostart: bool = setting(True, 'Configure and activate at start, without a manager.')
    bundle: str = setting(
        '',
        'Model bundle: an absolute path, ~/..., package://<package>/... or the name of one that '
        'is installed with the package; empty takes "default".',
    )
    cameras: tuple[str, ...] = setting(
        ('',),
        "Names of the cameras: each subscribes to <camera>/image; [''] is one camera on image.",
    )
    image_transport: str = setting(
        'raw',
        'Subscribe to the raw image or to its /compressed twin.',
        choices=('raw', 'compressed'),
    )
    image_reliability: str = setting(
        'auto',
        'Reliability of the image subscriptions; auto is reliable if every publisher offers it.',
        choices=('auto', 'reliable', 'best_effort'),
    )
    max_image_pixels: int = setting(
        MAX_PIXELS,
        'Images of which the header says more pixels are dropped before they are decoded; the '
        'default holds 8K video.',
        minimum=1,
        maximum=1 << 29,
        live=True,
        unit='px',
    )
    mono16_bits: int = setting(
        16,
        'Used bits of the samples of mono16, rgb16, bayer_*16 and their like: 10, 12 or 14 where '
        'the sensor has no more and the driver does not shift them up.',
        minimum=8,
        maximum=16,
        live=True,
    )
    ignore_mask: tuple[str, ...] = setting(
        ('',),
        'PNG per camera, in the order of cameras: 0 marks pixels that are never OoD '
        "(own hull, sky); '' has none.",
    )
    device: str = setting(
        'auto',
        'Where the network runs: auto (NVIDIA GPU if there is one), cpu, cuda, cuda:N, or xpu:N '
        '(an Intel GPU, with backend openvino).',
    )
    backend: str = setting(
        'auto',
        'How the network runs; auto measures while configuring which of eager, onnx and openvino '
        'is the fastest of those installed, once for each network, size and machine.',
        choices=('auto', 'eager', 'compile', 'onnx', 'openvino', 'tensorrt'),
    )
    precision: str = setting(
        'auto',
        'Arithmetic of the network; auto is fp16 on a GPU (fp32 with onnx) and fp32 on a CPU. No '
        'backend serves int8 yet.',
        choices=('auto', 'fp32', 'fp16', 'bf16', 'int8'),
    )
    engine_cache: str = setting(
        '',
        'Folder of built engines and of the choices of backend auto: an absolute path, ~/... or '
        'package://<package>/...; empty is meta_ood below the XDG cache folder.',
    )
    build_only: bool = setting(False, 'Build the engine while configuring, then stop.')
    self_check: bool = setting(
        True, 'Compare the backend with float32 eager on one frame while configuring.'
    )
    cpu_threads: int = setting(
        0, 'Threads of the network on a CPU; 0 leaves the choice to torch.', minimum=0, maximum=256
    )
    max_segments: int = setting(
        1000,
        'At most this many segments are published per frame, the largest; ids are kept.',
        minimum=1,
        maximum=65535,
        live=True,
    )
    contour_tolerance: float = setting(
        1.0,
        'Contours are simplified by at most this distance.',
        minimum=0.0,
        maximum=20.0,
        live=True,
        unit='px',
    )
    max_age: float = setting(
        0.5,
        'Frames that have waited longer since their arrival are dropped; 0 never drops.',
        minimum=0.0,
        maximum=60.0,
        live=True,
        unit='s',
    )
    max_rate: float = setting(
        0.0,
        'At most this many frames per second and camera are processed; 0 is no limit.',
        minimum=0.0,
        maximum=1000.0,
        live=True,
        unit='Hz',
    )
    max_failures: int = setting(
        10,
        'After this many failed frames in a row the node deactivates itself.',
        minimum=1,
        maximum=1000,
        live=True,
    )
    publish_rejected: bool = setting(
        False, 'Publish the segments that the meta classifier rejected, too.', live=True
    )
    publish_metrics: bool = setting(
        False, 'Fill metric_names and the metrics of every segment.', live=True
    )
    publish_contours: bool = setting(True, 'Fill the contour of every segment.', live=True)
    overlay_alpha: float = setting(
        0.5,
        'Opacity of the class colours in ~/overlay.',
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    diagnostics_period: float = setting(
        1.0,
        'Time between two diagnostics messages.',
        minimum=0.1,
        maximum=60.0,
        live=True,
        unit='s',
    )

    def __post_init__(self) -> None:
        """Check the fields of both halves, then what concerns several of them."""
        super().__post_init__()
        if not re.fullmatch(r'auto|cpu|(cuda|xpu)(:\d+)?', self.device):
            raise ValueError(
                f'device must be auto, cpu, cuda, cuda:N or xpu:N, got {self.device!r}. '
                "Name a GPU by its number, as in 'cuda:0'."
            )
        _check_cameras(self.cameras)
        self.check_places(len(self.cameras))
        masks = [mask for mask in self.ignore_mask if mask]
        if masks and len(self.ignore_mask) != len(self.cameras):
            raise ValueError(
                f'ignore_mask must name one PNG for each of the {len(self.cameras)} cameras, '
                f"got {len(self.ignore_mask)}. Use '' for a camera without mask."
            )


def _check_cameras(cameras: Iterable[str]) -> None:
    names = list(cameras)
    if names == ['']:
        return
    for name in names:
        if not re.fullmatch(r'[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*', name):
            raise ValueError(
                f'cameras must be names as topics have them (letters, digits, _), got {name!r}. '
                "[''] is the single camera on topic image."
            )
    if not names or len(set(names)) != len(names):
        raise ValueError(f'cameras must be distinct names, got {names}. Name each camera once.')
