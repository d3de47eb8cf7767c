"""A network of the user's own, brought as an ONNX file."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from types import MappingProxyType
from typing import Any

from meta_ood_ros.core.error_text import first_line
from meta_ood_ros.core.networks.onnx_file import check_onnx
from meta_ood_ros.core.networks.ood_network import OodNetwork
import numpy as np
import torch
from torch import Tensor

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

    """

    def __init__(
        self, content: bytes, *, num_classes: int, stride: int = 32, align_corners: bool = False
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
        # Sides that the graph leaves open are tried at four strides: enough for one class count.
        size = [side if isinstance(side, int) else 4 * stride for side in sides]
        self._try(torch.zeros(1, 3, *size))

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
        if not np.isfinite(logits).all():
            raise ValueError(
                'ONNX network must give finite logits for a grey image, got NaN or infinity. Its '
                'weights are damaged: copy or export it again.'
            )

    @staticmethod
    def _make_run_options() -> Any:
        import onnxruntime

        return onnxruntime.RunOptions()

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
            raise ValueError(
                f'ONNX network must take an image of shape {image.shape}, but onnxruntime says: '
                f'{first_line(error)}. Export it with free sides, or choose a work size it takes.'
            ) from error
        if logits.ndim != 4 or logits.shape[:2] != (len(image), self.num_classes):
            raise ValueError(
                f'ONNX network must give logits of shape ({len(image)}, {self.num_classes}, h, w),'
                f' one for each of the {self.num_classes} classes, got {logits.shape}. Name as '
                'many classes as the network has, and export the logits as first output.'
            )
        return logits.astype('float32', copy=False)


def make_session(
    content: bytes,
    *,
    provider: str = CPU_PROVIDER,
    options: Mapping[str, object] = MappingProxyType({}),
    threads: int = 0,
) -> Any:
    """Return an onnxruntime session for a graph."""
    try:
        import onnxruntime
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
    is_image = first is not None and len(first.shape) == 4 and first.shape[1] in (3, None)
    if first is None or not is_image or first.type != 'tensor(float)':
        found = ', '.join(f'{one.name} {one.type} {one.shape}' for one in inputs) or 'none'
        raise ValueError(
            'ONNX network must have one input, a float32 image of shape (N, 3, h0, w0), got '
            f'{found}. Export it so.'
        )
    return first.name, first.shape[0], first.shape[2:]
