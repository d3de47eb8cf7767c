"""
Where segments are: the pixels of a segment -> its place in space. The rooms, as the data goes.

1. `camera_model`       calibration of the camera -> the ray through each pixel
2. `depth_map`          depth image (16UC1, 32FC1): its unit, and which of its pixels shows which
3. `placed_segments`    what is known of where segments are, and why something is not
4. `from_depth`         segments and depth -> places
5. `from_ground_plane`  segments that stand on flat ground -> places, without depth
6. `point_cloud`        segments and depth -> the points that their pixels show

Each of these reads the pixels of the segments only, with `kernels.depth_samples`.
"""

from meta_ood_ros.core.places.camera_model import CameraModel as CameraModel
from meta_ood_ros.core.places.from_depth import locate_in_depth as locate_in_depth
from meta_ood_ros.core.places.from_ground_plane import GroundPlane as GroundPlane
from meta_ood_ros.core.places.from_ground_plane import locate_on_ground as locate_on_ground
from meta_ood_ros.core.places.placed_segments import PlacedSegments as PlacedSegments
from meta_ood_ros.core.places.placed_segments import Verdict as Verdict
from meta_ood_ros.core.places.point_cloud import segment_points as segment_points
