"""Settings of where segments are: validated like all others, of which they are a part."""

from __future__ import annotations

from dataclasses import dataclass, fields
import math
from typing import Any

from meta_ood_ros.core.places.from_ground_plane import GroundPlane
from meta_ood_ros.core.validated_field import check_setting, setting

#: Settings of several numbers for each camera.
_WIDTHS = {'ground_coefficients': 4}

#: Where the place of a segment comes from.
DEPTH_SOURCES = ('none', 'image', 'ground_plane')


@dataclass(frozen=True)
class PlaceSettings:
    """
    What a user may change about the place of segments.

    Raises
    ------
    ValueError
        On construction, for a value outside its range; the message names range and value.

    """

    depth: tuple[str, ...] = setting(
        ('none',),
        'Where the place of segments comes from: none, image (topics depth and camera_info) or '
        'ground_plane (camera_info, and one of camera_height, ground_coefficients, ground_frame); '
        'one for all cameras or one for each.',
    )
    depth_transport: str = setting(
        'raw',
        'Subscribe to the raw depth image or to its /compressedDepth twin.',
        choices=('raw', 'compressedDepth'),
    )
    depth_tolerance: float = setting(
        0.05,
        'The depth image nearest in stamp is taken if it is no farther from the image than this.',
        minimum=0.0,
        maximum=10.0,
        live=True,
        unit='s',
    )
    camera_height: tuple[float, ...] = setting(
        (0.0,),
        'Height of the optical centre above the ground, for ground_plane; one for all cameras or '
        'one for each.',
        unit='m',
    )
    camera_pitch: tuple[float, ...] = setting(
        (0.0,),
        'How far the camera looks down, for ground_plane; one for all cameras or one for each.',
        unit='rad',
    )
    camera_roll: tuple[float, ...] = setting(
        (0.0,),
        'How far the camera is turned clockwise, seen from behind, for ground_plane; one for all '
        'cameras or one for each.',
        unit='rad',
    )
    ground_coefficients: tuple[float, ...] = setting(
        (0.0, 0.0, 0.0, 0.0),
        'The ground as a, b, c, d of the plane a x + b y + c z + d = 0 in the optical frame (x '
        'right, y down, z forward; d in m if a, b, c is a unit vector), instead of the mounting; '
        'four numbers for all cameras or four for each, zeros where it is not used.',
    )
    ground_frame: tuple[str, ...] = setting(
        ('',),
        'Frame of tf2 whose plane z = 0 is the ground, z up, as base_footprint, instead of the '
        "mounting; needs tf2_ros; one for all cameras or one for each, '' where it is not used.",
    )
    max_range: float = setting(
        30.0,
        'Points farther away are left out of ~/points; on the ground plane nothing farther away '
        'gets a place.',
        minimum=0.1,
        maximum=1000.0,
        live=True,
        unit='m',
    )
    points_stride: int = setting(
        2,
        'Every this many rows and columns of the work grid give a point of ~/points.',
        minimum=1,
        maximum=64,
        live=True,
    )

    def check_places(self, cameras: int) -> None:
        """Check the fields of this class, and that there is one value or one for each camera."""
        for owner in fields(PlaceSettings):
            value = check_setting(owner, getattr(self, owner.name))
            object.__setattr__(self, owner.name, value)
            if isinstance(value, tuple):
                _check_count(owner.name, len(value), cameras)
        for source in self.depth:
            if source not in DEPTH_SOURCES:
                raise ValueError(
                    f'depth must be one of {", ".join(DEPTH_SOURCES)}, got {source!r}. '
                    "Write it as in ['image']."
                )
        for name in ('camera_pitch', 'camera_roll'):
            for angle in getattr(self, name):
                if not abs(angle) < math.pi / 2:
                    raise ValueError(
                        f'{name} must lie within -pi/2..pi/2, got {angle}. Give it in rad.'
                    )
        for camera in range(cameras):
            if self.for_camera('depth', camera) == 'ground_plane':
                self._check_ground(camera)

    def _check_ground(self, camera: int) -> None:
        """Refuse a ground that is given twice or not at all."""
        height = self.for_camera('camera_height', camera)
        coefficients = self.for_camera('ground_coefficients', camera)
        frame = self.for_camera('ground_frame', camera)
        given = [
            f'{name} {value!r}'
            for name, value, is_given in (
                ('camera_height', height, height != 0),
                ('ground_coefficients', list(coefficients), any(coefficients)),
                ('ground_frame', frame, bool(frame)),
            )
            if is_given
        ]
        if len(given) > 1:
            raise ValueError(
                'the ground of a camera must be given once, by camera_height, ground_coefficients '
                f'or ground_frame, got {" and ".join(given)}. Leave one of them.'
            )
        if any(coefficients):
            GroundPlane.from_coefficients(*coefficients)
        elif not frame and not 0 < height < math.inf:
            raise ValueError(
                f'camera_height must be greater than 0 for depth ground_plane, got {height}. '
                'Measure the height of the optical centre above the ground, in m, or give '
                'ground_coefficients or ground_frame.'
            )

    def for_camera(self, name: str, camera: int) -> Any:
        """Return the value of a setting for the camera of that number."""
        values = getattr(self, name)
        if name in _WIDTHS:
            width = _WIDTHS[name]
            return values[width * camera : width * (camera + 1)] or values[:width]
        return values[camera if len(values) > 1 else 0]


def _check_count(name: str, count: int, cameras: int) -> None:
    """Refuse what is neither one value nor one for each camera."""
    width = _WIDTHS.get(name, 1)
    if count in (width, width * cameras):
        return
    wanted = 'one value or one' if width == 1 else f'{width} numbers or {width}'
    raise ValueError(
        f'{name} must have {wanted} for each of the {cameras} cameras, got {count}. '
        'Give one for all, or name each.'
    )
