"""One training step: batch -> logits -> L = (1 - lambda) l_in + lambda l_out -> Adam."""

from collections.abc import Iterator
import copy
from functools import partial
from typing import Any

import lightning
from meta_ood_ros.core.networks import OodNetwork
from meta_ood_training.finetuning.config import FinetuneConfig
from meta_ood_training.finetuning.data.batches import Batch
from meta_ood_training.finetuning.data.label_sets import Teaching
from meta_ood_training.finetuning.loop.cpu_layers import speed_up_layers
from meta_ood_training.finetuning.loop.kinds import find_objective
from meta_ood_training.finetuning.loop.losses import EntropyMaximizationLoss
from meta_ood_training.finetuning.loop.modes import set_modes
from meta_ood_training.finetuning.loop.schedule import learning_rate_share
from meta_ood_training.finetuning.loop.validation import Scores, ScoreSums
from meta_ood_training.finetuning.loop_config import OptimizerConfig
from meta_ood_training.finetuning.run_classes import find_run_classes
from meta_ood_training.heads.beside import BESIDE_HEAD, run_network
import numpy as np
import torch
from torch import nn, Tensor
import torch.distributed as dist


class FinetuneModule(lightning.LightningModule):
    """
    A network in training for high entropy on OoD objects.

    Parameters
    ----------
    allowed : ndarray of shape (S + 1, 256, C), bool
        Label sets by source, see `open_samples`.

    Attributes
    ----------
    classes : ClassTable or None
        What the run's folders state: read at the start, for all files of weights.
    last_sums : Tensor of shape (5,), float64
        Of the latest batch of this rank, see `EntropyMaximizationLoss.sums`.

    """

    allowed: Tensor
    last_sums: Tensor

    def __init__(
        self,
        network: OodNetwork,
        config: FinetuneConfig,
        allowed: np.ndarray,
        *,
        teacher: OodNetwork | None = None,
        steps: int,
        batches_per_epoch: int,
    ) -> None:
        super().__init__()
        speed_up_layers(network)
        self.network = network
        self.config = config
        self.classes = find_run_classes(config)
        self.steps = steps
        self.batches_per_epoch = batches_per_epoch
        self.register_buffer('allowed', torch.from_numpy(allowed), persistent=False)
        # In tuples, so that neither is a part whose gradients DDP would wait for.
        self._teacher = (teacher.eval().requires_grad_(False),) if teacher is not None else ()
        decay = config.training.average_decay
        self._average = (copy.deepcopy(network).eval().requires_grad_(False),) if decay else ()
        self._score_sums: ScoreSums | None = None
        self.start_scores: Scores | None = None
        self.last_scores: Scores | None = None

    @property
    def average(self) -> OodNetwork | None:
        """The averaged network, where the run keeps one."""
        return self._average[0] if self._average else None

    @property
    def exported(self) -> OodNetwork:
        """The network that is validated and saved as the result."""
        return self.average or self.network

    def to_input(self, images: Tensor, network: OodNetwork | None = None) -> Tensor:
        """
        Return images as a network takes them, by default the one in training.

        Parameters
        ----------
        images : Tensor of shape (N, H, W, 3), uint8
            RGB.

        Returns
        -------
        Tensor of shape (N, 3, H, W), float32
            Normalised; channels last in memory where the config says so.

        """
        taker = network or self.network
        mean, std = (
            torch.tensor(one, device=images.device).reshape(1, 3, 1, 1)
            for one in (taker.input_mean, taker.input_std)
        )
        x = images.permute(0, 3, 1, 2).float().div(255).sub(mean).div(std)
        if self.config.training.channels_last:
            return x.contiguous(memory_format=torch.channels_last)
        return x.contiguous()

    def teach(self, batch: Batch) -> Teaching | None:
        """Return the teacher's view of a batch, or None without a teacher."""
        if not self._teacher:
            return None
        teacher = self._teacher[0]
        with torch.no_grad():
            logits = teacher(self.to_input(batch.clean, teacher)).float()
        return Teaching(logits, teacher.align_corners, self.allowed[batch.sources])

    def objective(self, batch: Batch, teaching: Teaching | None) -> EntropyMaximizationLoss:
        """Return the loss of one batch with its terms."""
        return find_objective(
            run_network(self.network, self.to_input(batch.images)),
            batch.targets,
            align_corners=self.network.align_corners,
            objective=self.config.objective,
            teaching=teaching,
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the objective of one batch."""
        loss = self.objective(batch, self.teach(batch))
        self.last_sums = loss.sums()
        return loss.total

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set modes and chance of the step from its number alone, so that it can be repeated."""
        epoch, number = divmod(batch_idx, self.batches_per_epoch)
        training = self.config.training
        set_modes(self.network, training)
        if epoch and not number and self.config.optimizer.reset_optimizer_each_epoch:
            for optimizer in self.trainer.optimizers:
                optimizer.state.clear()
        words = np.random.SeedSequence((training.seed, self.global_rank, batch_idx))
        torch.manual_seed(int(words.generate_state(1, np.uint64)[0] >> np.uint64(1)))

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Step, then move the average."""
        super().optimizer_step(*arguments, **options)
        if self.average is None:
            return
        step = self.global_step
        # An average of the first steps would remember the start: its window grows with them.
        decay = min(self.config.training.average_decay, step / (step + 9))
        for mean, current in zip(_tensors(self.average), _tensors(self.network), strict=True):
            if mean.is_floating_point():
                mean.lerp_(current.detach(), 1 - decay)
            else:
                mean.copy_(current)

    def configure_optimizers(self) -> Any:
        """Return Adam with its schedule over optimizer steps."""
        config = self.config.optimizer
        optimizer = torch.optim.Adam(
            _parameter_groups(self.network, config),
            config.learning_rate,
            weight_decay=config.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, partial(learning_rate_share, config=config, steps=self.steps)
        )
        return {
            'optimizer': optimizer,
            'lr_scheduler': {'scheduler': schedule, 'interval': 'step'},
        }

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Return a batch on the device; a validation frame moves when it is counted."""
        if isinstance(batch, Batch):
            return Batch(*(part.to(device, non_blocking=True) for part in batch))
        return batch

    def on_validation_epoch_start(self) -> None:
        """Begin to count, all ranks with the network that the first one saves."""
        if dist.is_available() and dist.is_initialized():
            for buffer in self.exported.buffers():
                dist.broadcast(buffer, 0)
        self._score_sums = ScoreSums(self.config.network.num_classes, self.config.objective.kind)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count one validation frame."""
        assert self._score_sums is not None
        self._score_sums.add(batch, self.exported, self.to_input)

    def on_validation_epoch_end(self) -> None:
        """Add up over ranks and keep the scores."""
        assert self._score_sums is not None
        if dist.is_available() and dist.is_initialized():
            self._score_sums.all_reduce()
        self.last_scores = self._score_sums.scores()
        if self.start_scores is None:
            self.start_scores = self.last_scores

    def on_fit_start(self) -> None:
        """Bring along what is not a part."""
        layout = (
            torch.channels_last if self.config.training.channels_last else torch.contiguous_format
        )
        for network in (self.network, *self._teacher, *self._average):
            network.to(self.device, memory_format=layout)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the average and the first scores."""
        if self.average is not None:
            checkpoint['average'] = self.average.state_dict()
        checkpoint['start_scores'] = self.start_scores.as_dict() if self.start_scores else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back."""
        if self.average is not None:
            self.average.load_state_dict(checkpoint['average'])
        kept = checkpoint['start_scores']
        self.start_scores = Scores(**kept) if kept else None


def _parameter_groups(network: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Parameters by the factor on their learning rate; a part that is named must exist."""
    by_factor: dict[float, list[nn.Parameter]] = {1.0: []}
    unused = set(config.part_factors)
    named = {
        name.removeprefix(BESIDE_HEAD): parameter
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    }
    for name, parameter in named.items():
        part = next((one for one in config.part_factors if name.startswith(one)), None)
        if part:
            unused.discard(part)
        by_factor.setdefault(config.part_factors[part] if part else 1.0, []).append(parameter)
    if unused:
        parts = sorted({name.split('.')[0] + '.' for name in named})
        raise ValueError(
            f'part_factors must name parts of the network ({", ".join(parts)}), got '
            f'{", ".join(sorted(unused))}. Correct it, or leave it out.'
        )
    return [
        {'params': parameters, 'lr': factor * config.learning_rate}
        for factor, parameters in by_factor.items()
        if parameters
    ]


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()
