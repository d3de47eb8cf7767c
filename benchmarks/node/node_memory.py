"""
Peak resident memory of the node above that of a process that only ran the network.

Both are processes of their own that see the same work size, with the same network, backend and
threads. The node has answered frames, with all that is listened to; its peak includes what it
took while it was being configured. It runs as `ros2 launch` starts it, without the FastDDS profile
whose shared memory a camera driver needs.
"""

from __future__ import annotations

from contextlib import ExitStack
from importlib.util import find_spec
import json
from pathlib import Path
import statistics
import subprocess
import sys
import tempfile

from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.image import to_work_size
from meta_ood_ros.core.kernels.warm_up import warm_up
from meta_ood_ros.demo.node import to_ros_arguments
from meta_ood_ros.scenes import render_scene
from safetensors.torch import save_file

from benchmarks.figures.comparison import Comparison, Options

TITLE = 'Peak memory of the node'
#: The message that answers each frame alone, and with it the largest map.
OUTPUTS = ((), ('entropy',))
TARGET_MB = 250.0
FRAMES = 10


def measure(options: Options) -> list[Comparison]:
    """Return one row for each of OUTPUTS, at most three rounds: each starts two processes."""
    if find_spec('rclpy') is None or find_spec('meta_ood_msgs') is None:
        print('  needs rclpy and meta_ood_msgs (make install, or source the workspace)')
        return []
    warm_up()  # without kernels in numba's cache the node would hold the compiler, too
    return [
        compare(pictures, options.image_size, rounds=min(options.rounds, 3))
        for pictures in OUTPUTS
    ]


def compare(
    pictures: tuple[str, ...],
    image_size: tuple[int, int],
    *,
    rounds: int,
    work_short_side: int | None = None,
) -> Comparison:
    """Return the row of a node that is listened to for its segments and some pictures."""
    subjects, baselines = [], []
    for _ in range(rounds):
        baselines.append(run_forward_pass(image_size, work_short_side))
        subjects.append(run_node(pictures, image_size, work_short_side))
    height, width = image_size
    return Comparison(
        f'rgb8 {width}x{height}, listened to: {", ".join(("segments", *pictures))}',
        'node',
        'process that imported torch and ran the same forward pass',
        [one['VmHWM'] for one in subjects],
        [one['VmHWM'] for one in baselines],
        unit='MB',
        kind='difference',
        target=TARGET_MB,
        details={
            name: {part: statistics.median(one[part] for one in taken) for part in taken[0]}
            for name, taken in (('node_mb', subjects), ('baseline_mb', baselines))
        },
    )


def run_node(
    pictures: tuple[str, ...], image_size: tuple[int, int], work_short_side: int | None
) -> dict[str, float]:
    """Start the node, have it answer FRAMES images and return its memory in MB."""
    from meta_ood_msgs.msg import OodSegmentArray
    from sensor_msgs.msg import Image

    from benchmarks.node.ros_camera import Camera, private_network, Program

    parameters: dict[str, object] = {'device': 'cpu', 'max_age': 0.0}
    if work_short_side is not None:
        parameters['work_short_side'] = work_short_side
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(private_network(profile=False))
        node = Program(
            'meta_ood_ros.node.start_node', to_ros_arguments(parameters), log=folder / 'node'
        )
        stack.callback(node.stop)
        camera = Camera(render_scene(0, size=image_size, ood_objects=2).image)
        stack.callback(camera.close)
        asked = [
            stack.enter_context(camera.asking('image', f'ood/{name}', kind, check=node.check))
            for name, kind in (
                ('segments', OodSegmentArray),
                *((picture, Image) for picture in pictures),
            )
        ]
        for _ in range(FRAMES):
            asked[-1]()
        return node.memory()


def run_forward_pass(image_size: tuple[int, int], work_short_side: int | None) -> dict[str, float]:
    """Run the network of the default bundle in a bare process and return its memory in MB."""
    bundle = load_bundle()
    stride = bundle.build_network().stride
    short_side = work_short_side or bundle.work_short_side
    height, width = to_work_size(image_size, short_side=short_side, stride=stride)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / 'network.safetensors'
        save_file(dict(bundle.weights), weights)
        arguments = [str(weights), bundle.architecture, json.dumps(dict(bundle.arguments))]
        arguments += [str(len(bundle.class_names)), str(height), str(width), str(FRAMES)]
        done = subprocess.run(
            [sys.executable, '-m', 'benchmarks.node.forward_pass', *arguments],
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeError(f'the forward pass failed: {done.stderr.strip()[-500:]}')
    said = json.loads(done.stdout)
    if said['imported']:
        raise RuntimeError(
            f'the baseline must import torch alone, got {", ".join(said["imported"])} with it. '
            'Import these later in the rooms that benchmarks/node/forward_pass.py needs.'
        )
    return said['memory_mb']
