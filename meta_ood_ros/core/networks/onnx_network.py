"""A network of the user's own, brought as an ONNX file."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, TimeoutError
import importlib
import os
from types import MappingProxyType
from typing import Any

from meta_ood_ros.core.error_text import first_line
from meta_ood_ros.core.networks.onnx_file import check_onnx
from meta_ood_ros.core.networks.onnx_outputs import (
    check_shape,
    check_values,
    describe_input,
    has_channels_first,
    make_trial_image,
    RefusedSizeError,
    trial_sizes,
)
from meta_ood_ros.core.networks.ood_network import OodNetwork
import torch
from torch import nn, Tensor

CPU_PROVIDER = 'CPUExecutionProvider'

#: Time that the first run of a graph may take [s].
LONGEST_TRIAL = 60.0
_LARGEST_STRIDE = 512


class OnnxNetwork(OodNetwork):
    """
    An ONNX graph with one image in and logits out, run by onnxruntime.

    Only what a self-contained file says is executed: no external data, no custom operators. It
    has no parameters and cannot be trained.

    Parameters
    ----------
    content : bytes
        The .onnx file. Input: one float32 image (N, 3, h0, w0), normalised RGB. First output:
        logits (N, C, h, w), before the softmax.
    num_classes : int
        C; refused if the graph gives another number.
    stride : int
        The input's sides are rounded to multiples of it.
    align_corners : bool
        How the logits are to be upsampled, as the network was trained.
    work_short_side : int
        At which it will work, and is tried once [px]; 0 tries what most networks take.

    """

    def __init__(
        self,
        content: bytes,
        *,
        num_classes: int,
        stride: int = 32,
        align_corners: bool = False,
        work_short_side: int = 0,
    ) -> None:
        super().__init__()
        if not 1 <= stride <= _LARGEST_STRIDE:
            raise ValueError(
                f'stride must lie in [1, {_LARGEST_STRIDE}], got {stride}. 32 suits most networks.'
            )
        check_onnx(content)
        self.content = content
        self.num_classes = num_classes
        self.stride = stride
        self.align_corners = align_corners
        self._session = make_session(content)
        self.input_name, count, sides = _check_input(self._session)
        self.has_fixed_batch = isinstance(count, int)
        is_fixed = all(isinstance(side, int) for side in sides)
        self.fixed_size = (sides[0], sides[1]) if is_fixed else None
        self.output_name = self._session.get_outputs()[0].name
        self._try_any(trial_sizes(sides, stride=stride, short_side=work_short_side))

    def _try_any(self, sizes: list[tuple[int, int]]) -> None:
        for size in sizes[:-1]:
            try:
                return self._try(torch.from_numpy(make_trial_image(size)))
            except RefusedSizeError:
                continue
        return self._try(torch.from_numpy(make_trial_image(sizes[-1])))

    def _try(self, x: Tensor) -> None:
        """Run the graph once, no longer than it may take and only as long as nobody stops us."""
        options = self._make_run_options()
        with ThreadPoolExecutor(1) as thread:
            trial = thread.submit(self.run, self._session, x.numpy(), options)
            try:
                logits = trial.result(timeout=LONGEST_TRIAL)
            except TimeoutError as error:
                raise ValueError(
                    f'ONNX network must give its logits within {LONGEST_TRIAL:g} s for an image '
                    f'of {x.shape[3]} x {x.shape[2]} px, got none. Export a smaller one.'
                ) from error
            finally:
                options.terminate = True  # also where a signal ends the waiting
        check_values(logits)

    @staticmethod
    def _make_run_options() -> Any:
        return import_onnxruntime().RunOptions()

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the logits, computed on the CPU.

        Parameters
        ----------
        x : Tensor of shape (N, 3, h0, w0), float
            Normalised RGB.

        Returns
        -------
        Tensor of shape (N, C, h, w), float32
            On the CPU, without gradient.

        """
        image = x.detach().to(device='cpu', dtype=torch.float32).contiguous()
        return torch.from_numpy(self.run(self._session, image.numpy()))

    def last_layers(self) -> tuple[tuple[nn.Conv2d, int], ...]:
        """Refuse: a graph names no last layer."""
        raise ValueError(
            'Features need a network of this package, got one from an ONNX file, which gives '
            'logits only. Choose a score of the logits, such as entropy, max_logit or energy.'
        )

    def run(self, session: Any, image: Any, options: Any = None) -> Any:
        """
        Return what a session of this graph makes of an image, checked.

        Parameters
        ----------
        session : onnxruntime.InferenceSession
            Of `content`, on any provider.
        image : ndarray of shape (N, 3, h0, w0), float32
            Normalised RGB.
        options : onnxruntime.RunOptions, optional
            By which another thread may end the run.

        Returns
        -------
        ndarray of shape (N, C, h, w), float32
            The logits.

        """
        try:
            (logits,) = session.run([self.output_name], {self.input_name: image}, options)
        except Exception as error:  # onnxruntime has a dozen unrelated exception types
            raise RefusedSizeError(
                f'ONNX network must take an image of shape {image.shape}, but onnxruntime says: '
                f'{first_line(error)}. Export it with free sides, or choose a work size it takes.'
            ) from error
        check_shape(logits, len(image), self.num_classes)
        return logits.astype('float32', copy=False)


def import_onnxruntime() -> Any:
    """
    Return the package, which must not report to anybody what runs on a robot.

    From 1.31 on it does by default, and keeps a device's id below the XDG cache folder.
    """
    # read once, when the library is loaded; whoever wants it sets 0
    os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')
    os.environ.setdefault('ORT_TELEMETRY_DISABLED', '1')  # its name in later versions
    return importlib.import_module('onnxruntime')


def make_session(
    content: bytes,
    *,
    provider: str = CPU_PROVIDER,
    options: Mapping[str, object] = MappingProxyType({}),
    threads: int = 0,
) -> Any:
    """Return an onnxruntime session for a graph."""
    try:
        onnxruntime = import_onnxruntime()
    except ImportError as error:
        raise ValueError(
            'ONNX networks need onnxruntime, which is not installed. Run: pip install onnxruntime'
        ) from error
    session_options = onnxruntime.SessionOptions()
    session_options.log_severity_level = 3  # errors only; they come as exceptions too
    session_options.intra_op_num_threads = threads or torch.get_num_threads()
    # Threads that wait in a loop would take the cores from everything else on the robot.
    session_options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    try:
        providers: list[Any] = [(provider, dict(options))]
        if provider != CPU_PROVIDER:
            providers.append(CPU_PROVIDER)
        return onnxruntime.InferenceSession(content, session_options, providers=providers)
    except Exception as error:
        raise ValueError(
            f'ONNX network must be one self-contained .onnx file, but onnxruntime says: '
            f'{first_line(error)}. Export it again.'
        ) from error


def _check_input(session: Any) -> tuple[str, Any, list[Any]]:
    inputs = session.get_inputs()
    first = inputs[0] if len(inputs) == 1 else None
    # A side that the graph leaves open is a name or None.
    is_image = first is not None and has_channels_first(first.shape)
    if first is None or not is_image or first.type != 'tensor(float)':
        found = ', '.join(f'{one.name} {one.type} {one.shape}' for one in inputs) or 'none'
        raise ValueError(
            'ONNX network must have one input, a float32 image of shape (N, 3, h0, w0), got '
            f'{found}. Export it so.'
            + ('' if first is None else describe_input(first.shape, first.type))
        )
    return first.name, first.shape[0], first.shape[2:]
