"""How a network runs: one interface, chosen by name, each absence explained."""

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
