"""Settings of where segments are: validated like all others, of which they are a part."""

from __future__ import annotations

from dataclasses import dataclass, fields
import math
from typing import Any

from meta_ood_ros.core.validated_field import check_setting, setting

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
        'ground_plane (camera_info and the mounting); one for all cameras or one for each.',
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
            if isinstance(value, tuple) and len(value) not in (1, cameras):
                raise ValueError(
                    f'{owner.name} must have one value or one for each of the {cameras} cameras, '
                    f'got {len(value)}. Give one for all, or name each.'
                )
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
            height = self.for_camera('camera_height', camera)
            if self.for_camera('depth', camera) == 'ground_plane' and not 0 < height < math.inf:
                raise ValueError(
                    f'camera_height must be greater than 0 for depth ground_plane, got {height}. '
                    'Measure the height of the optical centre above the ground, in m.'
                )

    def for_camera(self, name: str, camera: int) -> Any:
        """Return the value of a setting for the camera of that number."""
        values = getattr(self, name)
        return values[camera if len(values) > 1 else 0]
