"""
What the node's memory is compared with: import torch, run the network once, say the peak.

    python -m benchmarks.node.forward_pass WEIGHTS ARCHITECTURE '{"scale": 2.0}' CLASSES H W N

N forward passes of the bundle's network on the eager backend, with the threads that PyTorch takes
by itself. Nothing else of the package is imported (no numba, no OpenCV, no ROS): the rooms of
core are found without running core's own __init__, which imports all of them.
"""

import importlib.util
import json
from pathlib import Path
import sys
import types

import torch


def main(arguments: list[str]) -> None:
    """Run, then print a JSON object of the memory in MB and the names of heavy modules."""
    weights, architecture, options, classes, height, width, passes = arguments
    package = importlib.util.find_spec('meta_ood_ros')
    folder = Path(package.origin).parent / 'core'  # type: ignore[union-attr, arg-type]
    core = types.ModuleType('meta_ood_ros.core')
    core.__path__ = [str(folder)]
    sys.modules['meta_ood_ros.core'] = core
    from meta_ood_ros.core.backends.eager import EagerBackend
    from meta_ood_ros.core.networks import build_network
    from safetensors.torch import load_file

    network = build_network(architecture, num_classes=int(classes), **json.loads(options))
    network.load_state_dict(load_file(weights))
    backend = EagerBackend(network.eval(), device=torch.device('cpu'), precision='fp32')
    del network
    for _ in range(int(passes)):
        backend(torch.zeros(1, 3, int(height), int(width)))
    from benchmarks.node.process_memory import read_memory

    memory = read_memory(Path('/proc/self/status').read_text())
    beside = sorted({'numba', 'cv2', 'rclpy'} & set(sys.modules))
    print(json.dumps({'memory_mb': memory, 'imported': beside}))


if __name__ == '__main__':
    main(sys.argv[1:])
