"""A PyTorch network -> an ONNX graph for one input size, in a form that onnxruntime runs fast."""

import importlib.util
import inspect
import io
import itertools
from typing import Any
import warnings

from meta_ood_ros.core.backends.backend import BackendError
from meta_ood_ros.core.backends.fold import fold_batch_norms
import torch
from torch import nn, Tensor

OPSET = 17
INPUT, OUTPUT = 'image', 'logits'


def to_onnx(network: nn.Module, shape: tuple[int, int, int, int]) -> bytes:
    """
    Return the ONNX file of a network.

    Parameters
    ----------
    shape : (int, int, int, int)
        N, 3, h0, w0: fixed, so that pooling windows and grids are constants of the graph.

    Raises
    ------
    BackendError
        The package onnx is missing, with which PyTorch writes the file.

    """
    if importlib.util.find_spec('onnx') is None:
        raise BackendError(
            'export of the network needs the package onnx, which is not installed. '
            'Run: pip install onnx'
        )
    exported = fold_batch_norms(network).requires_grad_(False)
    _replace_prelus(exported)
    file = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter through TorchScript is announced as legacy; the newer one needs another
        # package. Its tracing warnings are about sizes, which are meant to be constants here.
        warnings.simplefilter('ignore')
        torch.onnx.export(
            exported,
            (torch.zeros(shape),),
            file,  # type: ignore[arg-type]  # the annotation forgets that files are allowed
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            **_through_torchscript(),
        )
    return file.getvalue()


def to_module_name(node_name: str) -> str:
    """
    Return the dotted name of the module in whose forward a node of the graph was made.

    PyTorch writes a container's name twice: /stages/stages.0/conv/Conv is of stages.0.conv.
    """
    pairs = itertools.pairwise(node_name.strip('/').split('/'))  # the last name is the node's
    return '.'.join(name for name, below in pairs if not below.startswith(f'{name}.'))


def _through_torchscript() -> dict[str, Any]:
    # before PyTorch 2.5 there is no other way, and no name for this one
    has_choice = 'dynamo' in inspect.signature(torch.onnx.export).parameters
    return {'dynamo': False} if has_choice else {}


class _PReluByParts(nn.Module):
    """
    PReLU as (1 - a) ReLU(x) + a x.

    onnxruntime 1.31 runs PRelu element by element and leaves its blocked layout for it: ESPNetv2
    at 352 x 480 took 92 ms of CPU time with PRelu and 46 ms with this.
    """

    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        self.slope = nn.Parameter(slope.detach().view(-1, 1, 1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) * (1.0 - self.slope) + x * self.slope


def _replace_prelus(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.PReLU):
            setattr(module, name, _PReluByParts(child.weight))
        else:
            _replace_prelus(child)
