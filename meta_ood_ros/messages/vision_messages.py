"""Segments and class names -> vision_msgs, where a ROS installation has them."""

from __future__ import annotations

from collections.abc import Sequence
import math
from types import ModuleType
from typing import Any

from meta_ood_msgs.msg import OodSegmentArray
from std_msgs.msg import Header

#: Name of the class of accepted OoD segments, its id is the number of classes.
OOD_NAME = 'ood'


def find_vision_msgs() -> ModuleType | None:
    """Return the module vision_msgs.msg, or None where it is not installed."""
    try:
        import vision_msgs.msg
    except ImportError:
        return None
    return vision_msgs.msg


def to_label_info(
    msgs: ModuleType, header: Header, class_names: Sequence[str], *, threshold: float
) -> Any:
    """Return the names of the values of ~/semantic_ood."""
    names = (*class_names, OOD_NAME)
    message = msgs.LabelInfo(header=header, threshold=threshold)
    message.class_map = [
        msgs.VisionClass(class_id=index, class_name=name) for index, name in enumerate(names)
    ]
    return message


def to_detections(msgs: ModuleType, segments: OodSegmentArray, *, class_id: int) -> Any:
    """
    Return the published segments as boxes.

    Parameters
    ----------
    class_id : int
        Of OOD_NAME in the LabelInfo: the number of classes.

    Returns
    -------
    Detection2DArray
        id is empty, because nothing is tracked; score is ood_probability, or score_mean without
        meta classifier. Boxes in pixels: pixels x..x+w-1 have the centre x+(w-1)/2.

    """
    message = msgs.Detection2DArray(header=segments.header)
    for segment in segments.segments:
        box, roi = msgs.BoundingBox2D(), segment.roi
        box.center.position.x = roi.x_offset + (roi.width - 1) / 2
        box.center.position.y = roi.y_offset + (roi.height - 1) / 2
        box.size_x, box.size_y = float(roi.width), float(roi.height)
        hypothesis = msgs.ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id = str(class_id)
        unjudged = math.isnan(segment.ood_probability)
        hypothesis.hypothesis.score = segment.score_mean if unjudged else segment.ood_probability
        message.detections.append(
            msgs.Detection2D(header=segments.header, results=[hypothesis], bbox=box)
        )
    return message
