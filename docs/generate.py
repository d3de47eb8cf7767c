"""
Write config/ood.yaml and docs/interfaces.md from the settings and the messages: `make docs`.

A test compares both files with what this writes, so neither can drift from the code.
"""

from __future__ import annotations

from dataclasses import Field, fields
from pathlib import Path
import textwrap
from typing import Any

from meta_ood_ros.core.settings import NodeSettings
from meta_ood_ros.messages.encodings import ENCODINGS, UNNAMED
from meta_ood_ros.messages.pictures import PICTURES

REPOSITORY = Path(__file__).resolve().parents[1]
MESSAGES = REPOSITORY / 'ros2_ws' / 'src' / 'meta_ood_msgs' / 'msg'

YAML_HEAD = """\
# Every parameter of the node at its default; copy it, keep what you change, and start with
#   ros2 launch meta_ood ood.launch.py params_file:=<your file>
# Written by `make docs` from meta_ood_ros/core/settings.py.
/**:
  ros__parameters:
"""

#: What the node publishes about a camera, as `~/<name>` or, of several, `~/<camera>/<name>`.
MEANING = {
    'segments': 'exactly one message per processed frame, empty too',
    'semantic': 'class id of each pixel, never changed by OoD; 255 only under `ignore_mask`',
    'semantic_ood': 'class id; C = accepted OoD, 255 = ignored. For the semantic layer of Nav2',
    'confidence': 'largest softmax probability x 255',
    'entropy': 'normalized entropy in [0, 1]; 0 under `ignore_mask`',
    'segment_ids': '0 = none, otherwise `OodSegment.id` of the published segments',
    'overlay': 'image with class colours and OoD segments, for people and RViz',
    'semantic_color': 'class colours, for people and RViz',
    'entropy_color': 'entropy from dark to bright, for people and RViz',
    'detections': 'the published segments as boxes, where vision_msgs is installed; `id` is '
    'empty, `class_id` that of `ood` in `~/label_info`',
    'label_info': 'names of the values of `~/semantic_ood`; latched, sent at activation and '
    'when `meta_threshold` changes',
    'obstacles': 'where the accepted segments are, exactly one message per processed frame',
    'points': 'the pixels of the accepted segments in space: x, y, z, id, ood_probability; for '
    'every processed frame, empty too',
    'markers': 'a box and the distance of each obstacle, for RViz, where visualization_msgs is '
    'installed',
    'detections_3d': 'the obstacles as boxes, where vision_msgs is installed',
    '/diagnostics': 'per camera: frames in, processed and dropped by cause, age, ms per stage, '
    'backend, precision, effective thresholds, idle',
}
TYPES = {
    'segments': 'meta_ood_msgs/OodSegmentArray',
    'detections': 'vision_msgs/Detection2DArray',
    'label_info': 'vision_msgs/LabelInfo',
    'obstacles': 'meta_ood_msgs/OodObstacleArray',
    'points': 'sensor_msgs/PointCloud2',
    'markers': 'visualization_msgs/MarkerArray',
    'detections_3d': 'vision_msgs/Detection3DArray',
    '/diagnostics': 'diagnostic_msgs/DiagnosticArray',
    **{name: f'sensor_msgs/Image {encoding}' for name, encoding in PICTURES.items()},
}

MARKDOWN_HEAD = """\
# Interfaces

Written by `make docs` from the code; edit `meta_ood_ros/core/settings.py` and the `.msg` files.

## Topics

In: `image` (sensor_msgs/Image), or `image/compressed` (sensor_msgs/CompressedImage) with
`image_transport: compressed`. With `cameras: [front, rear]`: `<camera>/image` in and
`~/<camera>/...` out. Out: header equal to that of the image, reliable, KEEP_LAST 1
(`~/segments` and `~/detections` 10), pixel-aligned with the received image, computed only when
somebody subscribes (except `~/segments`). Nobody on any output: no inference, diagnostics say
`idle`. `qos_overrides.<topic>.publisher.*` and, for the image,
`qos_overrides.<topic>.subscription.*` change history, depth and reliability, nothing else.

With `depth: [image]` also in: `depth` (sensor_msgs/Image 16UC1, mono16 or 32FC1, registered to the
image, of its size or another) or `depth/compressedDepth`, and `camera_info`
(sensor_msgs/CameraInfo of the image); with `depth: [ground_plane]` `camera_info` alone, and with
`ground_frame` tf2. Only then `~/obstacles`, `~/points`, `~/markers` and `~/detections_3d` exist.
Depth that is missing or cannot be used neither delays nor drops an answer: `~/obstacles` then has
no positions, `/diagnostics` says why and counts `unplaced_frames`.

A published segment is an 8-connected region of the work grid in which the entropy reaches
`entropy_threshold`, at which it was judged. With a `core_threshold` above that, an accepted one is
published as its cores instead: the components inside it that reach `core_threshold` and have at
least a fifth of the largest one's area; as it is where there is none. Place, area, class and score
are those of the core; `ood_probability` and `metrics` those of the segment that was judged. In
`segments_found` every core counts.

| topic | type | content |
|---|---|---|
{topics}

### What images are understood

{encodings}

Depth and other measured values are refused. Anything else goes to cv_bridge, where it can be
loaded; that also decodes those of 8 bits that both know, if a trial picture came out the same.
Rows may be padded (`step`), samples big-endian.

Files: JPEG (baseline, progressive), PNG, WebP, BMP, TIFF, GIF and PNM; zeros behind the end are
ignored. `CompressedImage.format` is applied as compressed_image_transport does: behind a
semicolon, a colour file holds BGR only if it says `compressed bgr8`, a Bayer mosaic is a mosaic, a
JPEG of 16 bits holds the upper 8; `jpeg` or `png` alone leave the file as it is. An EXIF
orientation is applied to folders of photographs, never to a message.

Sizes are read from the header: more than `max_image_pixels` are refused before decoding, and a
work grid of more than `max_work_pixels` before the network runs, whether the image grows or
shrinks to it. A file that ends before its header says is refused as truncated.

## Parameters

live: applied at the next frame. Otherwise only while the node is unconfigured: to swap, say, the
bundle, call cleanup, set, configure. -1.0 (or -1) is the value of the bundle; the effective value
stands in `~/segments` and `/diagnostics`. Besides these, `use_sim_time` and `qos_overrides.*`.

| parameter | type | default | range | live | meaning |
|---|---|---|---|---|---|
"""


def to_yaml_value(value: Any) -> str:
    """
    Return a default as YAML writes it, with the type that ROS reads back.

    Parameters
    ----------
    value : bool, int, float, str or tuple
        Default of a setting.

    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, tuple):
        return '[' + ', '.join(map(to_yaml_value, value)) + ']'
    return repr(value)


def to_ros_type(value: Any) -> str:
    """
    Return the name of a parameter type, as `ros2 param describe` prints it.

    Parameters
    ----------
    value : bool, int, float, str or tuple
        Default of a setting.

    """
    if isinstance(value, tuple):
        return f'{to_ros_type(value[0])} array'
    return {bool: 'bool', int: 'integer', float: 'double', str: 'string'}[type(value)]


def to_range(setting: Field[Any]) -> str:
    """
    Return what a setting allows: its choices, its range with unit, or nothing.

    Parameters
    ----------
    setting : dataclasses.Field
        Field of NodeSettings.

    """
    rule = setting.metadata
    if rule['choices']:
        return ', '.join(one or "''" for one in rule['choices'])
    return f'{rule["allowed"]} {rule["unit"]}'.rstrip() if rule['minimum'] is not None else ''


def to_parameter_file() -> str:
    """Return the text of config/ood.yaml: start-only parameters first, live ones after them."""
    text = YAML_HEAD
    for live, title in ((False, 'only while unconfigured'), (True, 'live: at the next frame')):
        text += f'    # ---- {title} ----\n'
        for setting in fields(NodeSettings):
            if setting.metadata['live'] is not live:
                continue
            about = setting.metadata['description']
            if to_range(setting):
                kind = 'One of' if setting.metadata['choices'] else 'Range'
                about += f' {kind}: {to_range(setting)}.'
            text += textwrap.fill(about, 99, initial_indent='    # ', subsequent_indent='    # ')
            text += f'\n    {setting.name}: {to_yaml_value(setting.default)}\n'
    return text


def to_interfaces() -> str:
    """Return the text of docs/interfaces.md: topics, parameters and messages."""
    rows = (
        f'| `{name if name.startswith("/") else "~/" + name}` | {TYPES[name]} | {about} |'
        for name, about in MEANING.items()
    )
    text = MARKDOWN_HEAD.replace('{topics}', '\n'.join(rows))
    images = (
        f'Encodings: {", ".join(ENCODINGS)}. Of them 16 bits are scaled to 8 by `mono16_bits`. '
    )
    images += f'{", ".join(UNNAMED)} count channels only: they are taken in the order of OpenCV.'
    text = text.replace('{encodings}', textwrap.fill(images, 99))
    for setting in sorted(fields(NodeSettings), key=lambda field: field.metadata['live']):
        cells = (
            f'`{setting.name}`',
            to_ros_type(setting.default),
            f'`{to_yaml_value(setting.default)}`',
            to_range(setting),
            'yes' if setting.metadata['live'] else '',
            setting.metadata['description'].replace('<', r'\<'),
        )
        text += f'| {" | ".join(cells)} |\n'
    text += '\n## Messages\n'
    for path in sorted(MESSAGES.glob('*.msg')):
        text += f'\n### meta_ood_msgs/{path.stem}\n\n```\n{path.read_text().rstrip()}\n```\n'
    return text


GENERATED = {
    REPOSITORY / 'config' / 'ood.yaml': to_parameter_file,
    REPOSITORY / 'docs' / 'interfaces.md': to_interfaces,
}

if __name__ == '__main__':
    for path, make in GENERATED.items():
        path.write_text(make(), encoding='utf-8')
        print(f'wrote {path.relative_to(REPOSITORY)}')
