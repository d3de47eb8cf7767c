"""What a run trains and towards what: the records `network` and `objective`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from meta_ood_training.finetuning.loop.losses import Normalization
from meta_ood_training.heads.beside import HEAD_KINDS, HeadSettings

ObjectiveKind = Literal[
    'entropy_maximization', 'void_class', 'dirichlet', 'outlier_head', 'residual_head'
]


@dataclass(frozen=True)
class NetworkConfig:
    """
    Which network, and what it starts from.

    Attributes
    ----------
    architecture : str
        A name that `build_network` knows, such as espnet_v2.
    arguments : mapping of str
        Of the architecture, such as scale: 2.0.
    num_classes : int
        In-distribution classes; 19 are Cityscapes', others come with `layout: folder`.
    weights : str
        Name under `data` of the checkpoint or bundle to start from; '' is random weights.
    new_head : bool
        Leaves the weights whose shape depends on the number of classes random: to start from a
        network of other classes.
    head_scale : float
        Factor on these weights of the start: below 1 the softmax is flatter and the classes stay,
        as a prior network wants it, whose logits are log-concentrations.

    """

    architecture: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    num_classes: int = 19
    weights: str = ''
    new_head: bool = False
    head_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.head_scale <= 0:
            raise ValueError(f'head_scale must be positive, got {self.head_scale}.')


@dataclass(frozen=True)
class DirichletConfig:
    """
    The objective of a prior network (Blum et al., equation 3 and appendix B.4).

    Attributes
    ----------
    concentration : float
        alpha_0, the sum of concentrations wanted where the class is known.
    smoothing : float
        epsilon, the share of it that all classes have alike.
    divergence_weight : float
        Factor on both divergences, beside a cross entropy of weight 1.

    """

    concentration: float = 100.0
    smoothing: float = 0.01
    divergence_weight: float = 0.1

    def __post_init__(self) -> None:
        if self.concentration <= 0 or not 0 < self.smoothing < 1 or self.divergence_weight < 0:
            raise ValueError(
                'dirichlet must have concentration above 0, smoothing in (0, 1) and '
                f'divergence_weight from 0 on, got {self}. Blum et al. have 100, 0.01 and 0.1.'
            )


@dataclass(frozen=True)
class ObjectiveConfig:
    """
    L = (1 - lambda) l_in + lambda l_out; which two losses, `kind` says.

    Attributes
    ----------
    kind : str
        `entropy_maximization` (Chan et al.); `void_class`, a further output that is the class of
        OoD pixels, and `dirichlet`, a prior network (Blum et al.); `outlier_head`, a decoder of
        its own that tells OoD pixels (Bevandic et al.); `residual_head`, entropy maximization by
        a block that adds to the logits of a network that stays as it is.
    head : HeadSettings or None
        Of the three kinds that have one.
    dirichlet : DirichletConfig
        Of the prior network.
    ood_loss_weight : float
        lambda. It belongs to its normalisation: the paper's 0.9 is for `all_pixels`.
    normalization : str
        `per_term` takes the mean of each loss over its own pixels; `all_pixels` divides both sums
        by all pixels and classes, as the published code does.
    teacher : str
        Name under `data` of the checkpoint or bundle whose probabilities are soft targets;
        '' takes the network's own start, frozen (self-distillation). Used only where a street
        source asks for it.
    teacher_architecture : NetworkConfig or None
        Where the teacher is another network than the one trained.
    class_weights : tuple of C float
        Factor of each class in l_in; () is 1 for all, as in the paper.

    """

    ood_loss_weight: float
    normalization: Normalization = 'per_term'
    teacher: str = ''
    teacher_architecture: NetworkConfig | None = None
    class_weights: tuple[float, ...] = ()
    kind: ObjectiveKind = 'entropy_maximization'
    head: HeadSettings | None = None
    dirichlet: DirichletConfig = field(default_factory=DirichletConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.ood_loss_weight <= 1:
            raise ValueError(f'ood_loss_weight must lie in [0, 1], got {self.ood_loss_weight}.')
        if (self.kind in HEAD_KINDS) != (self.head is not None):
            raise ValueError(
                f'objective.head belongs to the kinds {", ".join(HEAD_KINDS)}, got {self.head} '
                f'for {self.kind}. Name its inputs, or leave it out.'
            )
