"""Frames, labels and bags of known content, for the tests of segments and bags."""

import cv2
from meta_ood_ros.bags.bag import BagWriter
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.settings import PipelineSettings
from meta_ood_training.cli import main
from meta_ood_training.datasets.sample import IGNORED, OOD
from meta_ood_training.segments.table import read_table
import numpy as np
import pytest
from rosbags.typesys import get_typestore, Stores

SIZE = (64, 96)
THRESHOLDS = ('0.5', '0.8')


def make_frame(seed, size=SIZE):
    """Return a picture with blobs, and a target with two objects, void and two classes."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)
    target = np.where(np.arange(size[0])[:, None] < size[0] // 2, 1, 0) * np.ones(size, int)
    top, left = rng.integers(0, size[0] - 24), rng.integers(0, size[1] // 2 - 20)
    target[top : top + 20, left : left + 16] = OOD
    target[: size[0] // 3, size[1] // 2 + 4 : size[1] - 30] = OOD
    target[-8:] = IGNORED
    return image, target.astype(np.uint8)


def extract(output, small_bundle, *words):
    return main(
        [
            'segments',
            str(output),
            '--bundle',
            str(small_bundle),
            '--threshold',
            *THRESHOLDS,
            '--device',
            'cpu',
            *map(str, words),
        ]
    )


class Recorder:
    """Writes messages as a ROS 2 recorder would, without ROS."""

    def __init__(self, folder, name='drive'):
        self.store = get_typestore(Stores.ROS2_KILTED)
        self.writer = BagWriter(folder, name)

    def header(self, stamp):
        types = self.store.types
        time = types['builtin_interfaces/msg/Time'](sec=stamp // 10**9, nanosec=stamp % 10**9)
        return types['std_msgs/msg/Header'](stamp=time, frame_id='camera')

    def image(self, topic, stamp, pixels, encoding, *, step=None):
        kind = 'sensor_msgs/msg/Image'
        height, width = pixels.shape[:2]
        raw = np.ascontiguousarray(pixels).view(np.uint8).reshape(-1)
        message = self.store.types[kind](
            header=self.header(stamp),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=step or raw.size // height,
            data=raw,
        )
        self.writer.write(topic, kind, bytes(self.store.serialize_cdr(message, kind)), stamp)

    def jpeg(self, topic, stamp, pixels):
        kind = 'sensor_msgs/msg/CompressedImage'
        data = cv2.imencode('.png', pixels[:, :, ::-1])[1].reshape(-1)
        message = self.store.types[kind](header=self.header(stamp), format='png', data=data)
        self.writer.write(topic, kind, bytes(self.store.serialize_cdr(message, kind)), stamp)


FIRST = 1_700_000_000_000_000_000


def stamp_of(index):
    return FIRST + index * 2_000_000_000


def record(folder, frames=8, *, compressed=False, labels=True, broken=()):
    recorder = Recorder(folder)
    for index in range(frames):
        image, target = make_frame(index)
        if index in broken:
            recorder.image('/camera/image', stamp_of(index), image[:-1], 'rgb8', step=1)
        elif compressed:
            recorder.jpeg('/camera/image/compressed', stamp_of(index), image)
        else:
            recorder.image('/camera/image', stamp_of(index), image, 'rgb8')
        if labels:
            recorder.image('/camera/labels', stamp_of(index), target, 'mono8')
    return recorder.writer.close()


def same_segments(bag_folder, data_folder):
    """Compare the segments of a bag with those of the same frames in files."""
    left, right = read_table([bag_folder], 'segments'), read_table([data_folder], 'segments')
    names = [name for name in left.column_names if name not in ('image', 'group', 'stamp_ns')]
    assert left.select(names).equals(right.select(names))


def record_segments(
    folder,
    small_bundle,
    *,
    threshold=0.8,
    drop=0,
    ids=True,
    metrics=True,
    lose_ids_of=None,
    edit_ids=lambda drawn: drawn,
    **node,
):
    """Record what a node with everything published would say about five frames."""
    pytest.importorskip('rclpy')
    from meta_ood_ros.core.received_grid import to_received_labels
    from meta_ood_ros.core.settings import NodeSettings
    from meta_ood_ros.messages.segment_messages import choose_segments, to_segment_array
    from rclpy.serialization import serialize_message
    from std_msgs.msg import Header

    bundle = load_bundle(small_bundle)
    pipeline = OodPipeline(bundle, PipelineSettings(entropy_threshold=threshold, **node))
    settings = NodeSettings(publish_metrics=metrics, publish_rejected=True)
    recorder = Recorder(folder)
    for index in range(5):
        image, target = make_frame(index)
        result = pipeline(image)
        header = Header(frame_id='camera')
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_of(index), 10**9)
        published = choose_segments(result, publish_rejected=True, max_segments=1000)
        message = to_segment_array(
            result,
            published,
            settings,
            header=header,
            camera='',
            model_id=bundle.model_id,
            class_names=bundle.class_names,
        )
        if drop:
            message.segments = message.segments[drop:]
        recorder.writer.write(
            '/ood/segments',
            'meta_ood_msgs/msg/OodSegmentArray',
            serialize_message(message),
            stamp_of(index),
        )
        if ids and index != lose_ids_of:
            drawn = to_received_labels(published.ids[result.segments.labels], image.shape[:2])
            recorder.image('/ood/segment_ids', stamp_of(index), edit_ids(drawn), 'mono16')
        recorder.image('/labels', stamp_of(index), target, 'mono8')
    return recorder.writer.close()


RECORDED = ['--label-topic', '/labels', '--recorded', '/ood/segments']
