"""
Stamp in to message out, minus network and post-processing, against a pass-through rclpy node.

Both nodes run in processes of their own with the same QoS and the same FastDDS profile, and take
turns frame by frame at the images of one camera process. The pass-through node publishes the
message that it gets. From each frame's latency the time of its own network and post-processing is
subtracted, as the node has measured it; what stays is transport, waiting for the worker, decoding,
scaling to the work size, messages and publishing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
import gc
from importlib.util import find_spec
from pathlib import Path
import statistics
import tempfile
from typing import TYPE_CHECKING

from meta_ood_ros.demo.node import to_ros_arguments
from meta_ood_ros.scenes import render_scene

from benchmarks.figures.comparison import Comparison, Options

if TYPE_CHECKING:  # these need ROS
    from benchmarks.node.ros_camera import Reply, StageTimes

    Turn = tuple[Reply, Reply, Mapping[str, float]]

TITLE = 'Overhead of the node, stamp in to message out'
#: What the pipeline computes; all else is overhead.
COMPUTED = ('network', 'dense', 'segments', 'metrics', 'meta_classifier')
FRAMES_A_ROUND = 5


@dataclass(frozen=True)
class Pair:
    """
    What is compared with what.

    Attributes
    ----------
    passed : str
        What the pass-through node publishes: 'answer', the whole image, or 'header'.

    """

    output: str
    passed: str
    target: float | None = None


#: The message that answers each frame, against the node of the same bytes and against one whose
#: answer is as small; the largest of the maps; and a picture of as many bytes as come in, which
#: has to be drawn.
PAIRS = (
    Pair('segments', 'answer', 1.3),
    Pair('segments', 'header'),
    Pair('entropy', 'answer'),
    Pair('overlay', 'answer'),
)


def measure(options: Options) -> list[Comparison]:
    """Return one row for each of PAIRS."""
    if find_spec('rclpy') is None or find_spec('meta_ood_msgs') is None:
        print('  needs rclpy and meta_ood_msgs (make install, or source the workspace)')
        return []
    return measure_pairs(PAIRS, options.image_size, FRAMES_A_ROUND * options.rounds)


def measure_pairs(
    pairs: Sequence[Pair],
    image_size: tuple[int, int],
    frames: int,
    parameters: Mapping[str, object] | None = None,
) -> list[Comparison]:
    """Return one row a pair."""
    from meta_ood_msgs.msg import OodSegmentArray
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from benchmarks.node.ros_camera import Camera, private_network, Program, StageTimes

    image = render_scene(0, size=image_size, ood_objects=2).image
    rows = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(private_network())
        arguments = to_ros_arguments({'max_age': 0.0, **(parameters or {})})
        programs, times = 'benchmarks.node.ros_programs', folder / 'times'
        node = Program(programs, ['node', str(times), *arguments], log=folder / 'node')
        stack.callback(node.stop)
        passing = Program(programs, ['pass_through'], log=folder / 'pass_through')
        stack.callback(passing.stop)
        camera = Camera(image)
        stack.callback(camera.close)
        for pair in pairs:
            kind = OodSegmentArray if pair.output == 'segments' else Image
            passed_kind = Header if pair.passed == 'header' else Image
            with (
                camera.asking(
                    'pass_through/image',
                    f'pass_through/{pair.passed}',
                    passed_kind,
                    check=passing.check,
                ) as ask_passing,
                camera.asking('image', f'ood/{pair.output}', kind, check=node.check) as ask_node,
            ):
                turns = _take_turns(ask_passing, ask_node, StageTimes(times), frames)
            rows.append(_to_row(pair, image_size, turns))
    return rows


def _take_turns(
    ask_passing: Callable[[], Reply],
    ask_node: Callable[[], Reply],
    times: StageTimes,
    frames: int,
) -> list[Turn]:
    """Return what both nodes made of each frame."""
    turns = []
    times.last()  # of the frame with which the connection was tried
    gc.collect()
    gc.disable()
    try:
        for frame in range(frames + 1):
            turn = ask_passing(), ask_node(), times.last()
            if frame:  # the first wakes everything up
                turns.append(turn)
    finally:
        gc.enable()
    return turns


def _to_row(pair: Pair, image_size: tuple[int, int], turns: Sequence[Turn]) -> Comparison:
    replies = [reply.milliseconds for _, reply, _ in turns]
    stages = [stages for _, _, stages in turns]
    overheads = [find_overhead(*pair) for pair in zip(replies, stages, strict=True)]
    height, width = image_size
    return Comparison(
        f'rgb8 {width}x{height} in, ~/{pair.output} out, network and post-processing taken off',
        'node',
        'pass-through node that publishes '
        + ('the same image' if pair.passed == 'answer' else 'its header'),
        [sum(parts.values()) for parts in overheads],
        [reply.milliseconds for reply, _, _ in turns],
        kind='cost',
        target=pair.target,
        details={
            'overhead_ms': {
                part: statistics.median(parts[part] for parts in overheads)
                for part in overheads[0]
            },
            'latency_ms': statistics.median(replies),
            'taken_off_ms': {
                name: statistics.median(one[name] for one in stages) for name in COMPUTED
            },
            'bytes_in': 3 * height * width,
            'bytes_out': turns[-1][1].size,
            'bytes_out_of_pass_through': turns[-1][0].size,
        },
    )


def find_overhead(latency: float, stages: Mapping[str, float]) -> dict[str, float]:
    """
    Return where the time of one frame went that was neither network nor post-processing.

    Parameters
    ----------
    stages : mapping of str to float
        As the node measured them [ms]: those of COMPUTED; wait, decode, preparation and publish;
        total, from the arrival at the node until all is published.

    Returns
    -------
    dict of str to float
        The same four; `between`, what the node does from one stage to the next, the handing over
        between its threads among it; `transport`, what is not within total: serialization and DDS
        in both directions, and both executors.

    """
    parts = {name: stages[name] for name in ('wait', 'decode', 'preparation', 'publish')}
    computed = sum(stages[name] for name in COMPUTED)
    parts['between'] = stages['total'] - computed - sum(parts.values())
    parts['transport'] = latency - stages['total']
    return parts
