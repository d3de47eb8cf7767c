"""
Procedural street scenes with exact labels: classes, unknown objects, and where they are.

Everything is drawn with numpy and OpenCV from a seed; no image file is needed. The rooms, in the
order in which a picture is made: `world` (what there is); `street`, `ground`, `traffic`,
`vehicles`, `people`, `unknown` (its parts); `things` (where they stand); `camera` and `canvas`
(painted from far to near); `weather` (light, sky and the lens); `stereo` (what a depth camera
makes of the true depth).
"""

from meta_ood_ros.scenes.stereo import stereo_depth, StereoCamera
from meta_ood_ros.scenes.unknown import SCENE_SPLITS
from meta_ood_ros.scenes.world import render_scene, render_sequence, Scene

__all__ = [
    'SCENE_SPLITS',
    'Scene',
    'StereoCamera',
    'render_scene',
    'render_sequence',
    'stereo_depth',
]
