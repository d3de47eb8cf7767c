"""OodResult -> the image messages of one frame, each made only when asked for."""

from __future__ import annotations

from meta_ood_ros.core.pictures import ResultPictures
from meta_ood_ros.core.result import OodResult
from meta_ood_ros.messages.conversions import new_image
from meta_ood_ros.messages.segment_messages import PublishedSegments
import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

#: Topic below ~/, a picture of `core.pictures` -> encoding.
PICTURES = {
    'semantic': 'mono8',
    'semantic_ood': 'mono8',
    'confidence': 'mono8',
    'entropy': '32FC1',
    'segment_ids': 'mono16',
    'overlay': 'rgb8',
    'semantic_color': 'rgb8',
    'entropy_color': 'rgb8',
}


class Pictures(ResultPictures):
    """Every image that the node publishes about one frame, by the name of its topic."""

    def __init__(
        self,
        result: OodResult,
        published: PublishedSegments,
        *,
        image: np.ndarray,
        palette: np.ndarray,
        overlay_alpha: float,
    ) -> None:
        super().__init__(
            result, published.ids, image=image, palette=palette, overlay_alpha=overlay_alpha
        )
        self._size = result.image_size

    def make(self, name: str, header: Header) -> Image:
        """Return one of PICTURES, pixel-aligned with the received image."""
        message, pixels = new_image(header, self._size, PICTURES[name])
        self.fill(name, pixels)
        return message
