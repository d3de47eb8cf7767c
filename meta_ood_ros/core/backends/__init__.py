"""
How a network runs: one interface, chosen by name, each absence explained.

1. `device`      the word in the parameter -> a device that is really there
2. `backend`     what every backend offers, and the error that all of them raise
3. `eager`       PyTorch as it is, the reference; `compiled`: torch.compile
4. `onnx`        onnxruntime, on the graph that `onnx_export` writes
5. `openvino`    and `tensorrt`: engines, kept on disk by `engine_cache`
6. `fold`        the same function in fewer layers: `fold_pair`, `fold_pyramid`
7. `agreement`   does a backend say the same as the reference?
8. `loading`     the name of a backend -> a network ready to run
9. `choice`      which backend is the fastest here, measured once
"""

from meta_ood_ros.core.backends.agreement import self_check, SelfCheck, TOLERANCES
from meta_ood_ros.core.backends.backend import (
    Backend,
    BackendDeviceError,
    BackendError,
    PRECISIONS,
)
from meta_ood_ros.core.backends.choice import Choice, choose_backend
from meta_ood_ros.core.backends.device import resolve_device, ResolvedDevice
from meta_ood_ros.core.backends.eager import EagerBackend
from meta_ood_ros.core.backends.loading import BACKEND_NAMES, load_backend

__all__ = [
    'BACKEND_NAMES',
    'PRECISIONS',
    'TOLERANCES',
    'Backend',
    'BackendDeviceError',
    'BackendError',
    'Choice',
    'EagerBackend',
    'ResolvedDevice',
    'SelfCheck',
    'choose_backend',
    'load_backend',
    'resolve_device',
    'self_check',
]
