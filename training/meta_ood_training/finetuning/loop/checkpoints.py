"""What a run keeps: where it goes on when it was killed, and the weights that it has found."""

from collections.abc import Mapping
from pathlib import Path
import pickle
from typing import Any, BinaryIO, cast

import lightning
from lightning.pytorch.plugins.io import TorchCheckpointIO
from meta_ood_ros.core.files.whole_files import explained, replace_whole, sync
from meta_ood_training.finetuning.config_reader import ConfigError
from meta_ood_training.finetuning.loop.csv_rows import LOG_FILES
from meta_ood_training.finetuning.loop.module import FinetuneModule
from meta_ood_training.finetuning.loop.validation import Scores
from meta_ood_training.heads.beside import split_weights
from meta_ood_training.provenance.revision import add_process, OF_ONE_PROCESS
import torch

# What may differ between a run and its resumption: it changes no number.
_FREE = ('workers', 'threads', 'resume_steps')

RESUME_FILE = 'last.ckpt'
BEST_FILE = 'best.pth'
LAST_FILE = 'final.pth'
RUN_FILES = (RESUME_FILE, BEST_FILE, LAST_FILE)


class KeepCheckpoints(lightning.Callback):
    """
    Saves where to resume every so many steps, and the best weights after each validation.

    Parameters
    ----------
    patience : int
        Validations without a better one until the run is stopped; 0 never stops it.
    facts : mapping of str
        Goes into the weights' files beside `state_dict`: plain values only. Of a resumed run it is
        those of its first process, and `resumed` lists the later ones that differ.
    epoch_length : int
        Samples of an epoch: with other data a resumed run would see other samples.

    """

    def __init__(
        self,
        output: Path,
        *,
        every_steps: int,
        mean_iou_loss: float,
        patience: int,
        facts: Mapping[str, Any],
        world_size: int = 1,
        fixed_ranks: bool = True,
        epoch_length: int = 0,
    ) -> None:
        self.output = output
        self.every_steps = every_steps
        self.mean_iou_loss = mean_iou_loss
        self.patience = patience
        self.facts = dict(facts)
        self.world_size = world_size
        self.fixed_ranks = fixed_ranks
        self.epoch_length = epoch_length
        self.best: Scores | None = None
        self.last: Scores | None = None
        self.last_step = -1
        self.best_step = 0
        self.waited = 0
        self._earlier: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know."""
        return {
            'best': self.best.as_dict() if self.best else None,
            'best_step': self.best_step,
            'waited': self.waited,
            'last': self.last.as_dict() if self.last else None,
            'last_step': self.last_step,
            'run': self._run(),
            'ranks': self.world_size,
            'processes': {key: self.facts.get(key) for key in (*OF_ONE_PROCESS, 'resumed')},
        }

    def _run(self) -> dict[str, Any]:
        """Return what makes the samples and steps of a run, however many ranks share them."""
        config = dict(self.facts['config'])
        training = {key: one for key, one in config['training'].items() if key not in _FREE}
        training['batch_size'] *= self.world_size
        return {**config, 'training': training, 'samples of an epoch': self.epoch_length}

    def check_resumable(self, path: Path) -> None:
        """
        Refuse a resume point of another run before anything of this one is written.

        Raises
        ------
        ConfigError
            Its configuration, data or ranks differ, or it cannot be read.

        """
        try:
            point = torch.load(path, map_location='cpu', mmap=True, weights_only=False)
            state = point['callbacks'][self.state_key]
            was = state['run']
        except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
            raise ConfigError(
                f'{path} must be a resume point of `finetune`, got {error!r}. Train into a new '
                'folder.'
            ) from error
        now = self._run()
        changed = [key for key in sorted(was.keys() | now.keys()) if was.get(key) != now.get(key)]
        if changed:
            raise ConfigError(
                f'a resumed run must have the configuration and data that it began with, got '
                f'others in {", ".join(changed)} (batch_size counts over all ranks). Correct it, '
                'or train into a new folder.'
            )
        ranks = state.get('ranks', self.world_size)  # not in points of earlier versions
        if self.fixed_ranks and ranks != self.world_size:
            raise ConfigError(
                f'a resumed run must have the {ranks} ranks that it began with, got '
                f'{self.world_size}: batch norm or dropout in training depends on how samples are '
                f'shared out. Resume it on {ranks}, or train into a new folder.'
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it back."""
        self.last = Scores(**state_dict['last']) if state_dict['last'] else None
        self.last_step = state_dict['last_step']
        self.best = Scores(**state_dict['best']) if state_dict['best'] else None
        self.best_step = state_dict['best_step']
        self.waited = state_dict['waited']
        self._earlier = state_dict.get('processes', {})

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Go on with the facts of a killed run, and end it at once where it was to end."""
        if self._earlier:
            self.facts = add_process(self._earlier, self.facts, trainer.global_step)
        self._end_without_progress(trainer)

    def _end_without_progress(self, trainer: lightning.Trainer) -> None:
        if self.patience and self.waited >= self.patience:
            trainer.should_stop = True

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save where to resume."""
        # Lightning would take a validation that is still due for done: see on_validation_end.
        every = trainer.val_check_batch if trainer.enable_validation else None
        if every is None or (batch_idx + 1) % every:
            self._save_resume_point(trainer)

    def _save_resume_point(self, trainer: lightning.Trainer) -> None:
        # Between two optimizer steps only: gradients are not kept.
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        step = trainer.global_step
        if batches % trainer.accumulate_grad_batches == 0 and step % self.every_steps == 0:
            assert isinstance(trainer.lightning_module, FinetuneModule)
            _check_finite(trainer.lightning_module, step)
            for path in (self.output / name for name in LOG_FILES):
                if trainer.is_global_zero and path.exists():
                    with explained(path):
                        sync(path)  # else a power cut takes rows that the point counts
            trainer.save_checkpoint(self.output / RESUME_FILE)

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Keep the weights where they are the best so far; then save where to resume."""
        assert isinstance(pl_module, FinetuneModule)
        scores = pl_module.last_scores
        if trainer.sanity_checking or scores is None:
            return
        self.last, self.last_step = scores, trainer.global_step
        if scores.is_better(self.best, pl_module.start_scores, self.mean_iou_loss):
            self.best, self.best_step, self.waited = scores, trainer.global_step, 0
            self.save_weights(trainer, pl_module, BEST_FILE, scores)
        else:
            self.waited += 1
            self._end_without_progress(trainer)
        self._save_resume_point(trainer)

    def on_train_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Keep the last weights, with their scores where the last step was validated."""
        assert isinstance(pl_module, FinetuneModule)
        scores = self.last if self.last_step == trainer.global_step else None
        self.save_weights(trainer, pl_module, LAST_FILE, scores)

    def save_weights(
        self, trainer: lightning.Trainer, module: FinetuneModule, name: str, scores: Scores | None
    ) -> None:
        """Write the weights that the run would export now."""
        _check_finite(module, trainer.global_step)
        if not trainer.is_global_zero:
            return
        weights, head = (
            {key: value.detach().cpu() for key, value in part.items()}
            for part in split_weights(module.exported)
        )
        record = {
            'state_dict': weights,
            **({'head': head} if head else {}),
            **self.facts,
            **({'classes': module.classes.as_facts()} if module.classes else {}),
            'step': int(trainer.global_step),
            'scores': scores.as_dict() if scores else {},
            'start_scores': module.start_scores.as_dict() if module.start_scores else {},
        }
        save_whole(record, self.output / name)


def save_whole(record: Any, path: Path) -> None:
    """Write a record with torch.save, or leave what was there."""
    with replace_whole(path) as stream:
        guard = _Guard(stream)
        try:
            torch.save(record, cast(BinaryIO, guard))
        finally:
            if guard.error is not None:
                raise guard.error


class _Guard:
    """A stream whose error torch.save cannot replace by one of its own, which names no cause."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        """Write, until it fails for the first time."""
        try:
            if self.error is None:
                self._stream.write(content)
        except OSError as error:
            self.error = error
        return len(content)

    def flush(self) -> None:
        """Leave that to the stream's owner."""


class WholeFiles(TorchCheckpointIO):
    """Lightning's checkpoints, written by `save_whole`."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint."""
        save_whole(checkpoint, Path(path))


def _check_finite(module: FinetuneModule, step: int) -> None:
    """Refuse to write broken weights, on all ranks alike, over the files that are whole."""
    for network in dict.fromkeys((module.network, module.exported)):  # one, without an average
        for name, value in network.state_dict().items():
            if not bool(torch.isfinite(value).all()):
                raise ConfigError(
                    f'weights must be finite, got others in {name} at step {step}: the training '
                    f'diverged. {RESUME_FILE} and {BEST_FILE} stay as they were before. Lower '
                    'optimizer.learning_rate or set optimizer.clip_norm, and start again.'
                )
