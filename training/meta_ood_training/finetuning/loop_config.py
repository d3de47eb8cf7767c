"""How a fine-tuning run goes, is judged and becomes a bundle."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class OptimizerConfig:
    """
    Adam and its learning rate.

    Attributes
    ----------
    learning_rate : float
        Its peak, for the batch of all ranks.
    part_factors : mapping of str to float
        Beginning of parameter names -> factor on their learning rate, such as `decoder.` -> 10 for
        a part that starts from random weights.
    schedule : str
        `constant`, or `cosine` to a twentieth of the peak at the last step.
    warmup_steps : int
        Over which the learning rate rises linearly from 0 [steps].
    weight_decay : float
        L2 penalty of Adam.
    clip_norm : float
        Largest norm of the gradient; 0 leaves it as it is.
    reset_optimizer_each_epoch : bool
        Forgets Adam's moments after each epoch, as the published code does.

    """

    learning_rate: float = 1e-5
    schedule: Literal['constant', 'cosine'] = 'constant'
    warmup_steps: int = 0
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    reset_optimizer_each_epoch: bool = False
    part_factors: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ValueError(f'learning_rate must be positive, got {self.learning_rate}.')
        for part, factor in self.part_factors.items():
            if factor <= 0:
                raise ValueError(f'part_factors must be positive, got {factor} for {part}.')


@dataclass(frozen=True)
class TrainingConfig:
    """
    The loop.

    Attributes
    ----------
    epochs : int
        Passes over the street images, as `street.repeats` counts them.
    max_steps : int
        Ends the run after so many [steps]; 0 lets `epochs` decide.
    batch_size : int
        Samples of one rank that go through the network together.
    accumulate : int
        Batches whose gradients make one step.
    seed : int
        Decides every draw: samples, augmentation, random weights.
    precision : str
        Of forward and backward pass: `32-true`, `bf16-mixed` or `16-mixed`.
    frozen_batch_norm : bool
        Keeps the running statistics of the start, and normalizes with them.
    dropout : bool
        Whether layers that drop activations do.
    threads : int
        Of PyTorch on the CPU, for one rank; 0 leaves its own number.
    channels_last : bool
        Memory layout of images and weights; on a CPU it halves the time of ESPNetv2's forward.
    average_decay : float
        Decay of the exponential moving average of the weights, which is what is validated and
        exported; 0 exports the last weights.
    workers : int
        Processes that make samples, for one rank; -1 takes the CPUs left over, at most 4.
    sync_batch_norm : bool
        Batch-norm statistics over all ranks, where they are not frozen.
    resume_steps : int
        Optimizer steps between two points from which a killed run can go on.

    """

    epochs: int = 4
    max_steps: int = 0
    batch_size: int = 8
    accumulate: int = 1
    seed: int = 0
    precision: Literal['32-true', 'bf16-mixed', '16-mixed'] = '32-true'
    channels_last: bool = True
    frozen_batch_norm: bool = False
    dropout: bool = True
    average_decay: float = 0.0
    workers: int = -1
    threads: int = 0
    sync_batch_norm: bool = False
    resume_steps: int = 50

    def __post_init__(self) -> None:
        for name in ('epochs', 'batch_size', 'accumulate', 'resume_steps'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name} must be at least 1, got {getattr(self, name)}.')
        if not 0 <= self.average_decay < 1:
            raise ValueError(f'average_decay must lie in [0, 1), got {self.average_decay}.')
        if self.batch_size == 1 and not self.frozen_batch_norm and not self.sync_batch_norm:
            raise ValueError(
                'batch_size must be at least 2 for one rank, got 1: batch norm after global '
                'pooling sees one value a channel and cannot train. Use 2, sync_batch_norm on '
                'several ranks, or frozen_batch_norm: true.'
            )


@dataclass(frozen=True)
class ValidationConfig:
    """
    What the best checkpoint is chosen on: never a test set.

    Attributes
    ----------
    every_steps : int
        Between two validations [steps]; 0 validates after each epoch.
    frames : int
        Validated at most of each source, spread evenly over it.
    short_side : int
        To which frames are scaled [px]; should be the work size of the bundle.
    camvid : str
        Name under `data` of CamVid, whose select block is used; '' leaves it out.
    idd_lite : str
        Name under `data` of IDD-Lite, whose select sequences are used; '' leaves it out.
    folder : str
        Name under `data` of a folder of one's own labelled images (`layout: folder`).
    folder_part : str
        `all` of them, or `select`, the fifth that `layout: folder_fit` does not train on.
    ecssd, coco, objects : str
        Names under `data` of the object sources (`objects`: a folder of one's own, cut-outs or
        images and masks); their select objects are pasted.
    known_categories : tuple of str
        Of COCO's categories, as `objects` of the run have them.
    mean_iou_loss : float
        A checkpoint whose mean IoU is more than this below the starting network's is
        not chosen.
    patience : int
        Validations without a better score after which the run ends; 0 never ends it early.

    """

    every_steps: int = 0
    camvid: str = ''
    idd_lite: str = ''
    folder: str = ''
    folder_part: Literal['all', 'select'] = 'all'
    ecssd: str = ''
    coco: str = ''
    objects: str = ''
    known_categories: tuple[str, ...] = ()
    frames: int = 40
    short_side: int = 512
    mean_iou_loss: float = 0.01
    patience: int = 0

    @property
    def objects_data(self) -> tuple[str, ...]:
        """Names under `data` of all object sources."""
        return self.ecssd, self.coco, self.objects


@dataclass(frozen=True)
class BundleConfig:
    """
    What the bundle made of a run says, where the command line does not.

    Attributes
    ----------
    entropy_threshold : float
        At which the node works until a meta classifier brings its own.
    work_short_side : int
        At which the node shall run [px]; `validation.short_side` should be the same.
    min_size_px : int
        Smaller segments are not published [work px].
    licence_of_weights, data_terms : str
        Of the weights that training started from and that the result derives from, and terms of
        the data; `bundle` asks for both and quotes what stands here.

    """

    entropy_threshold: float = 0.5
    work_short_side: int = 512
    min_size_px: int = 0
    licence_of_weights: str = ''
    data_terms: str = ''
