"""Which backend is the fastest here? Measured once for each network, machine and size."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
import json
import logging
import math
from pathlib import Path
import platform
import time

from meta_ood_ros.core.backends.agreement import self_check
from meta_ood_ros.core.backends.backend import Backend, BackendError
from meta_ood_ros.core.backends.engine_cache import EngineCache, EngineKey, hash_network
from meta_ood_ros.core.backends.loading import load_backend
from meta_ood_ros.core.error_text import first_line
import torch
from torch import nn, Tensor

logger = logging.getLogger(__name__)

# compile and tensorrt are not among them: they build for minutes.
# The first is the most promising: on a busy machine the last may not have its turn.
CANDIDATES = ('eager', 'openvino', 'onnx')
MOST_ROUNDS = 10
#: Time that the rounds may take together [s].
LONGEST_ROUNDS = 5.0
#: Time after which no further backend is built [s].
LONGEST_BUILDING = 10.0


@dataclass(frozen=True)
class Choice:
    """
    The fastest backend whose entropy agrees with float32 eager.

    Parameters
    ----------
    backend : Backend
        Ready for the size it was chosen for.
    milliseconds : mapping of str to float
        Shortest time of each backend measured; empty where there was nothing to choose from.
    refused : mapping of str to str
        Why a backend that is installed could not win.
    is_kept : bool
        Whether the measurement is that of an earlier start.
    is_complete : bool
        Whether all that are installed had their turn; else the next start measures again.

    """

    backend: Backend
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    is_kept: bool = False
    is_complete: bool = True

    def __str__(self) -> str:
        """Return one sentence: what was chosen, and the time of each."""
        times = sorted(self.milliseconds.items(), key=lambda item: item[1])
        listed = ', '.join(f'{name} {value:.3g} ms' for name, value in times)
        refused = ''.join(f'; {name} left out: {why}' for name, why in self.refused.items())
        when = 'measured at an earlier start' if self.is_kept else 'measured now'
        return f'Backend auto chose {self.backend.name} ({when}: {listed}{refused}).'


def choose_backend(
    first: Backend, network: nn.Module, x: Tensor, *, device: torch.device, engine_cache: str = ''
) -> Choice:
    """
    Measure the backends that are installed and need no minutes to build, or find it written down.

    Parameters
    ----------
    first : Backend
        Loaded from this network with the name 'auto'; the others have its precision.
    network : OodNetwork
        In eval mode, on the CPU.
    x : Tensor of shape (1, 3, h0, w0), float32
        A normalised image of the size that is to be served.
    device : torch.device
        Where the network shall run.
    engine_cache : str
        Folder in which the choice is kept, beside engines; '' is meta_ood below the XDG cache
        folder.

    Returns
    -------
    Choice
        With `first` where no other is installed, or none agrees with float32 eager.

    """
    others = _load_others(first, network, device, engine_cache)
    if not others:
        return Choice(first)
    backends = {first.name: first, **others}
    cache = _open_cache(engine_cache)
    key = _make_key(first, network, x, device, backends)
    kept = None if cache is None else _read(cache.load(key), backends)
    if kept is not None:
        name, milliseconds = kept
        try:
            if name != first.name:
                self_check(backends[name], network, x)
            return _told(Choice(backends[name], milliseconds, is_kept=True))
        except (RuntimeError, ValueError) as error:
            logger.warning('Backend %s was the fastest and fails now: %s', name, first_line(error))
    choice = _measure(first, backends, network, x)
    if cache is not None and choice.is_complete:
        note = {'backend': choice.backend.name, 'milliseconds': dict(choice.milliseconds)}
        cache.store(key, json.dumps(note).encode())
    return _told(choice)


def _told(choice: Choice) -> Choice:
    logger.info('%s', choice)
    return choice


def _load_others(
    first: Backend, network: nn.Module, device: torch.device, engine_cache: str
) -> dict[str, Backend]:
    others = {}
    for name in CANDIDATES:
        if name == first.name:
            continue
        try:
            others[name] = load_backend(
                name, network, device=device, precision=first.precision, engine_cache=engine_cache
            )
        except BackendError:  # not installed, or not for this device, precision or network
            continue
    return others


def _measure(
    first: Backend, backends: Mapping[str, Backend], network: nn.Module, x: Tensor
) -> Choice:
    start = time.perf_counter()
    ready, refused, is_complete = {}, {}, True
    for name, backend in backends.items():
        if time.perf_counter() - start > LONGEST_BUILDING:
            refused[name] = f'no time was left after {LONGEST_BUILDING:g} s'
            is_complete = False
            continue
        try:
            if (name, backend.precision) != ('eager', 'fp32'):
                self_check(backend, network, x)
            ready[name] = backend
        except (RuntimeError, ValueError) as error:
            refused[name] = first_line(error)
    shortest = _time_in_turns(ready, x)
    fastest = min(shortest, key=shortest.__getitem__, default=first.name)
    milliseconds = {name: 1e3 * seconds for name, seconds in shortest.items()}
    return Choice(backends[fastest], milliseconds, refused, is_complete=is_complete)


def _time_in_turns(backends: Mapping[str, Backend], x: Tensor) -> dict[str, float]:
    """Return the shortest time of each [s]: what else the machine does only adds to it."""
    shortest = dict.fromkeys(backends, math.inf)
    start = time.perf_counter()
    for _ in range(MOST_ROUNDS):
        for name, backend in backends.items():
            begin = time.perf_counter()
            backend(x)
            if backend.device.type == 'cuda':
                torch.cuda.synchronize(backend.device)
            shortest[name] = min(shortest[name], time.perf_counter() - begin)
        if time.perf_counter() - start > LONGEST_ROUNDS:
            break
    return shortest


def _open_cache(engine_cache: str) -> EngineCache | None:
    try:
        return EngineCache(engine_cache)
    except RuntimeError as error:  # a user without a home
        logger.warning(
            'The choice of backend auto cannot be kept (%s) and is made at every start. '
            'Set engine_cache to a folder that can be written, or name a backend.',
            first_line(error),
        )
        return None


def _make_key(
    first: Backend,
    network: nn.Module,
    x: Tensor,
    device: torch.device,
    backends: Mapping[str, Backend],
) -> EngineKey:
    batch, channels, height, width = x.shape
    return EngineKey(
        hash_network(network),
        'auto',
        f'{describe_machine(device)}, {torch.get_num_threads()} threads',
        ', '.join(f'{name} {_version_of(name)}' for name in backends),
        first.precision,
        (batch, channels, height, width),
    )


def _version_of(name: str) -> str:
    package = {'eager': 'torch', 'onnx': 'onnxruntime'}.get(name, name)
    if package == 'torch':
        return str(torch.__version__)
    for one in (package, f'{package}-gpu'):
        try:
            return version(one)
        except PackageNotFoundError:
            continue
    return 'unknown'  # as that of a package built from source


def describe_machine(device: torch.device) -> str:
    """Return the model of the processor that runs the network, and its instructions."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    try:
        lines = Path('/proc/cpuinfo').read_text(errors='replace').splitlines()
    except OSError:
        lines = []
    named = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    model = named[0] if named else platform.machine()
    return f'{model}, {torch.backends.cpu.get_cpu_capability()}'


def _read(
    content: bytes | None, backends: Mapping[str, Backend]
) -> tuple[str, dict[str, float]] | None:
    """Return what was chosen and the times, if that backend is still there."""
    if content is None:
        return None
    note = json.loads(content)  # whole: its sum has been compared
    name, milliseconds = note['backend'], note['milliseconds']
    return (name, milliseconds) if name in backends else None
