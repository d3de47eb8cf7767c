"""z-scores -> the neural network of Runtas & Petkovic (2025, table 1), many trained at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
import math

import numpy as np
import torch
from torch import Tensor

# table 1: three hidden layers of 75 neurons, whatever the number of metrics
HIDDEN = 75
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


@dataclass(frozen=True)
class NeuralSettings:
    """
    How the network is trained; the defaults are section 4.2 of Runtas & Petkovic (2025).

    Parameters
    ----------
    batch_size : int
        Segments a step. The last, smaller batch is kept (the published code drops it).
    seed : int
        Of the initial weights and of the order of the segments; fold f uses seed + f.

    """

    epochs: int = 50
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 5e-3
    seed: int = 0


Layers = tuple[tuple[np.ndarray, np.ndarray], ...]


def train_neural_networks(
    z: Sequence[np.ndarray],
    is_true_ood: Sequence[np.ndarray],
    settings: NeuralSettings | None = None,
    *,
    columns: Sequence[np.ndarray] | None = None,
    dtype: torch.dtype = torch.float32,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Layers]:
    """
    Train one D-75-75-75-1 network for each data set, all in the same batched products.

    Parameters
    ----------
    z : sequence of F ndarrays of shape (K_f, D), float64
        Standardised segment metrics of each fold; K_f >= 1.
    is_true_ood : sequence of F ndarrays of shape (K_f,), bool
        The positive class.
    columns : sequence of F ndarrays of int, optional
        The metrics that each network may see; its initial weights then have the range of a
        layer with so many inputs. None means all.

    Notes
    -----
    Binary cross entropy, mean over the batch. A fold that has fewer batches than another rests
    in the last steps of an epoch: its Adam state is that of a training on its own, which a test
    checks against torch.optim.Adam.

    """
    settings = settings or NeuralSettings()
    folds, width = len(z), z[0].shape[1]
    generators = [torch.Generator().manual_seed(settings.seed + fold) for fold in range(folds)]
    chosen = [np.arange(width)] * folds if columns is None else list(columns)
    parameters = _initial_parameters(chosen, width, generators, dtype)
    inputs, targets, counts = _stack(z, is_true_ood, chosen, dtype)
    optimizer = _BatchedAdam(parameters, settings)
    batches = math.ceil(int(counts.max()) / settings.batch_size)
    total = settings.epochs * batches
    fold_index = torch.arange(folds)[:, None]
    with _one_thread():
        for step in range(total):
            begin = step % batches * settings.batch_size
            if begin == 0:
                order = _shuffle(counts, generators)
            rows = order[:, begin : begin + settings.batch_size]
            size = (counts - begin).clamp(0, rows.shape[1])
            used = torch.arange(rows.shape[1])[None] < size[:, None]
            weight = used.to(dtype) / size.clamp(min=1)[:, None]
            gradients = _gradients(
                parameters, inputs[fold_index, rows], targets[fold_index, rows], weight
            )
            optimizer.step(gradients, size > 0)
            if on_step is not None:
                on_step(step + 1, total)
    return [_export(parameters, fold, chosen[fold]) for fold in range(folds)]


def predict_neural_network(z: np.ndarray, layers: Layers) -> np.ndarray:
    """Return the logit of true OoD of each row, shape (K,), float64."""
    activation = z
    for index, (weight, bias) in enumerate(layers):
        activation = activation @ weight.T + bias
        if index < len(layers) - 1:
            activation = np.maximum(activation, 0.0)
    return activation[:, 0]


def count_parameters(layers: Layers) -> int:
    """Return the number of weights and biases: 17,176 for 75 metrics."""
    return sum(weight.size + bias.size for weight, bias in layers)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread: 10 folds take 3 ms a step on one, 9 to 50 ms on two of a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _initial_parameters(
    columns: Sequence[np.ndarray],
    width: int,
    generators: Sequence[torch.Generator],
    dtype: torch.dtype,
) -> list[Tensor]:
    """Draw weights and biases as torch.nn.Linear does: uniform within 1 / sqrt(inputs)."""
    sizes = [width, HIDDEN, HIDDEN, HIDDEN, 1]
    drawn: list[list[Tensor]] = []
    for chosen, generator in zip(columns, generators, strict=True):
        tensors = []
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            bound = 1.0 / math.sqrt(len(chosen) if layer == 0 else inputs)
            for shape in ((outputs, inputs), (outputs,)):
                uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
                tensors.append(((2.0 * uniform - 1.0) * bound).to(dtype))
        drawn.append(tensors)
    return [torch.stack(layer) for layer in zip(*drawn, strict=True)]


def _stack(
    z: Sequence[np.ndarray],
    is_true_ood: Sequence[np.ndarray],
    columns: Sequence[np.ndarray],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """Pad the folds to one length; a metric that a fold may not see is 0."""
    counts = torch.tensor([len(one) for one in z])
    inputs = torch.zeros((len(z), int(counts.max()), z[0].shape[1]), dtype=dtype)
    targets = torch.zeros(inputs.shape[:2], dtype=dtype)
    for fold, (rows, target, chosen) in enumerate(zip(z, is_true_ood, columns, strict=True)):
        inputs[fold, : len(rows), chosen] = torch.from_numpy(rows[:, chosen]).to(dtype)
        targets[fold, : len(rows)] = torch.from_numpy(target.astype(np.float64)).to(dtype)
    return inputs, targets, counts


def _shuffle(counts: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    order = torch.zeros((len(counts), int(counts.max())), dtype=torch.int64)
    for fold, (count, generator) in enumerate(zip(counts.tolist(), generators, strict=True)):
        order[fold, :count] = torch.randperm(count, generator=generator)
    return order


def _gradients(
    parameters: Sequence[Tensor], inputs: Tensor, targets: Tensor, weight: Tensor
) -> list[Tensor]:
    """Return the gradients of the weighted binary cross entropy, written out layer by layer."""
    activations = [inputs]
    layers = len(parameters) // 2
    for layer in range(layers):
        w, b = parameters[2 * layer], parameters[2 * layer + 1]
        out = torch.baddbmm(b[:, None], activations[-1], w.transpose(1, 2))
        activations.append(out if layer == layers - 1 else out.relu_())
    backward = ((torch.sigmoid(activations[-1][..., 0]) - targets) * weight)[..., None]
    gradients: list[Tensor] = []
    for layer in reversed(range(layers)):
        gradients = [
            torch.bmm(backward.transpose(1, 2), activations[layer]),
            backward.sum(dim=1),
            *gradients,
        ]
        if layer:
            backward = torch.bmm(backward, parameters[2 * layer])
            backward *= activations[layer] > 0
    return gradients


class _BatchedAdam:
    """torch.optim.Adam for every fold, with a step count of its own."""

    def __init__(self, parameters: list[Tensor], settings: NeuralSettings) -> None:
        self.parameters = parameters
        self.settings = settings
        self.first = [torch.zeros_like(one) for one in parameters]
        self.second = [torch.zeros_like(one) for one in parameters]
        self.steps = torch.zeros(len(parameters[0]), dtype=parameters[0].dtype)

    def step(self, gradients: Sequence[Tensor], active: Tensor) -> None:
        """Move the folds that had a batch; the others stay exactly as they are."""
        everyone = bool(active.all())
        self.steps += active
        beta1, beta2 = _BETAS
        steps = self.steps.clamp(min=1)
        rate = self.settings.learning_rate / (1.0 - beta1**steps)
        correction = (1.0 - beta2**steps).sqrt()
        for index, gradient in enumerate(gradients):
            parameter = self.parameters[index]
            shape = (-1,) + (1,) * (gradient.ndim - 1)
            gradient = gradient.add(parameter, alpha=self.settings.weight_decay)
            if everyone:
                first = self.first[index].lerp_(gradient, 1.0 - beta1)
                second = self.second[index].mul_(beta2)
                second.addcmul_(gradient, gradient, value=1.0 - beta2)
                moved = first / (second.sqrt() / correction.view(shape)).add_(_EPSILON)
                parameter -= rate.view(shape) * moved
                continue
            mask = active.view(shape)
            first = torch.lerp(self.first[index], gradient, 1.0 - beta1)
            second = self.second[index] * beta2 + (1.0 - beta2) * gradient * gradient
            moved = first / (second.sqrt() / correction.view(shape)).add_(_EPSILON)
            self.first[index] = torch.where(mask, first, self.first[index])
            self.second[index] = torch.where(mask, second, self.second[index])
            parameter -= torch.where(mask, rate.view(shape) * moved, torch.zeros_like(moved))


def _export(parameters: Sequence[Tensor], fold: int, columns: np.ndarray) -> Layers:
    arrays = [one[fold].double().numpy().copy() for one in parameters]
    # inputs that the network never saw must not act on metrics it is served
    hidden = np.ones(arrays[0].shape[1], dtype=bool)
    hidden[columns] = False
    arrays[0][:, hidden] = 0.0
    return tuple(zip(arrays[::2], arrays[1::2], strict=True))
