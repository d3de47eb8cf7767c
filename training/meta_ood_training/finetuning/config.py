"""What a fine-tuning run is made of: the records behind config/finetune_*.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from meta_ood_training.datasets.registry import FOLDERS
from meta_ood_training.finetuning.data.augmentation import AugmentationSettings
from meta_ood_training.finetuning.data.hard_negatives import HardNegativeSettings
from meta_ood_training.finetuning.data.mixing import MixingSettings
from meta_ood_training.finetuning.data.pasting import PasteSettings
from meta_ood_training.finetuning.loop_config import (
    BundleConfig,
    OptimizerConfig,
    TrainingConfig,
    ValidationConfig,
)
from meta_ood_training.finetuning.objective_config import (
    NetworkConfig as NetworkConfig,
)
from meta_ood_training.finetuning.objective_config import ObjectiveConfig as ObjectiveConfig


@dataclass(frozen=True)
class StreetConfig:
    """
    One source of in-distribution images.

    Attributes
    ----------
    layout : str
        `camvid_fit`, `idd_lite_fit`, `scenes`, or a name of the dataset registry; `folder` holds
        one's own images, with `classes.yaml` where its classes are not Cityscapes'.
    data : str
        Name under `data` of its folder. For `scenes`, a folder that keeps them for further runs
        and processes; '' draws them anew.
    repeats : float
        How often an epoch holds each image: 1 once, 0.25 a new quarter each epoch.
    targets : str
        `labels` trains on the labels alone. `teacher` takes the teacher's probabilities where
        there is no label. `consistent` takes the teacher's probabilities everywhere, restricted
        to the classes that the label may stand for and renormalised: a label that names one
        class stays hard, a coarse one is refined, an absent one is the teacher's. `cautious` is
        the same but for IDD-Lite's living things and vehicles, which animals and carts are among:
        they are left to the teacher alone. `sure` takes the teacher's probabilities where the
        label is 253 and nothing where it is 255, as `adapt` marks what the teacher is sure of.
    short_side : int
        Images are scaled to this short side [px] before `augmentation.scale_*`; 0 keeps them.
    count : int
        How many scenes are drawn, for `scenes` alone.
    ood_objects : int
        Unknown objects in a scene at most, for `scenes` alone.
    void : str
        `ignored`, or `ood`: what the labels leave void is an example of the unknown, as in Blum
        et al., who have no other.

    """

    layout: str
    data: str = ''
    repeats: float = 1.0
    targets: Literal['labels', 'teacher', 'consistent', 'cautious', 'sure'] = 'labels'
    short_side: int = 0
    count: int = 200
    ood_objects: int = 3
    void: Literal['ignored', 'ood'] = 'ignored'

    def __post_init__(self) -> None:
        if self.repeats <= 0:
            raise ValueError(f'repeats must be positive, got {self.repeats}.')
        if self.short_side < 0 or self.count < 1:
            raise ValueError('short_side must not be negative and count must be at least 1.')


_SELECTING_CAMVID = ('camvid_train', 'camvid_select', 'camvid_val')
"""Layouts with frames of CamVid's select block, or of val, which lie a second beside them."""
_SUBSETS = {'L-20%': (0.0, 0.2), 'M-80%': (0.8, 1.0)}


@dataclass(frozen=True)
class ProxyConfig:
    """
    One source of OoD proxies.

    Attributes
    ----------
    layout : str
        `ecssd`, `coco`, or `folder`: cut-outs, or images and masks of one's own.
    data : str
        Name under `data` of its folder.
    split : str
        Of its source images: `train`, so that `select` and `test` stay unseen, or `all`.
    rules : str
        For COCO images: `ours` or `published` (the authors' eight classes, 480 px).
    background : str
        What pixels beside the objects count as: `ignore`, or `class:NAME` of Cityscapes.
    min_share, max_share : float
        Bounds on the share of labelled pixels of an image, in [0, 1].
    known_categories : tuple of str
        For COCO: categories that are not unknown, besides those named like a class of the
        network (with Cityscapes' classes: besides COCO's nine that these know).
    subset : str
        `L-20%` (at most 20 % labelled; of COCO those without any object, too) or `M-80%` (at
        least 80 %), the informative subsets of Runtas & Petkovic; '' for none.

    """

    layout: Literal['ecssd', 'coco', 'folder']
    data: str
    split: Literal['train', 'all'] = 'train'
    rules: Literal['ours', 'published'] = 'ours'
    background: str = 'ignore'
    min_share: float = 0.0
    max_share: float = 1.0
    subset: Literal['', 'L-20%', 'M-80%'] = ''
    known_categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.subset and (self.min_share, self.max_share) != (0.0, 1.0):
            raise ValueError(
                f'subset {self.subset} has its own shares, got min_share {self.min_share} and '
                f'max_share {self.max_share} beside it. Leave out one or the other.'
            )

    @property
    def shares(self) -> tuple[float, float]:
        """Bounds on the labelled share, those of the subset where there is one."""
        return _SUBSETS.get(self.subset, (self.min_share, self.max_share))


@dataclass(frozen=True)
class FinetuneConfig:
    """
    One run of `meta-ood-train finetune`.

    Attributes
    ----------
    network : NetworkConfig
        What is trained.
    street : tuple of StreetConfig
        In-distribution images.
    objective : ObjectiveConfig
        The loss.
    proxies : tuple of ProxyConfig
        Whole proxy images, as many per epoch as `mixing` says.
    objects : tuple of ProxyConfig
        Sources of objects that are pasted on street crops, as often as `mixing` says.
    controls : str
        Name under `data` of CamVid, whose cars, people and bicycles are pasted with their own
        labels as `mixing.control_probability` says; '' for none.
    mixing : MixingSettings
        Shares of proxies and pasted objects.
    augmentation : AugmentationSettings
        What happens to every sample.
    pasting : PasteSettings
        How objects are placed and blended.
    hard_negatives : HardNegativeSettings
        Shadows and paint that are no objects.
    optimizer : OptimizerConfig
        Adam and its learning rate.
    training : TrainingConfig
        The loop.
    validation : ValidationConfig or None
        What the best checkpoint is chosen on; None validates nothing.
    bundle : BundleConfig
        What the bundle made of the run says.
    data : mapping of str to str
        Name -> path of each folder or file that other keys name; --data adds to it.

    """

    network: NetworkConfig
    street: tuple[StreetConfig, ...]
    objective: ObjectiveConfig
    proxies: tuple[ProxyConfig, ...] = ()
    objects: tuple[ProxyConfig, ...] = ()
    controls: str = ''
    mixing: MixingSettings = field(default_factory=MixingSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    pasting: PasteSettings = field(default_factory=PasteSettings)
    hard_negatives: HardNegativeSettings = field(default_factory=HardNegativeSettings)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    validation: ValidationConfig | None = None
    bundle: BundleConfig = field(default_factory=BundleConfig)
    data: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mixing = self.mixing
        for name, sources, share in (
            ('proxies', self.proxies, 'proxies_per_street_image'),
            ('objects', self.objects, 'paste_probability'),
            ('controls', self.controls, 'control_probability'),
        ):
            if sources and not getattr(mixing, share):
                raise ValueError(
                    f'mixing.{share} must be above 0 where there are {name}, got 0: they would '
                    f'not be used. Set it, or leave out {name}.'
                )
        for one in self.objects:
            alone = ProxyConfig(
                one.layout, one.data, one.split, known_categories=one.known_categories
            )
            if one != alone:
                raise ValueError(
                    f'objects must have layout, data, split and known_categories alone, got '
                    f'{one}: rules, background and shares are about whole proxy images. Leave '
                    'them out.'
                )
        self._refuse_trained_selection()

    def _refuse_trained_selection(self) -> None:
        """Refuse to train on what the best checkpoint is chosen with."""
        selected = self.validation
        if selected is None:
            return
        whole = [
            f'{name} of layout {one.layout} with split: all'
            for name, sources in (('proxies', self.proxies), ('objects', self.objects))
            for one in sources
            if one.split == 'all' and self._is_any(one.data, *selected.objects_data)
        ]
        whole += [
            f'street of layout {one.layout}'
            for one in self.street
            if (one.layout in _SELECTING_CAMVID and selected.camvid == one.data)
            or (one.layout == 'idd_lite' and selected.idd_lite == one.data)
            or (
                one.layout in FOLDERS
                and self._is_any(one.data, selected.folder)
                and (one.layout, selected.folder_part) != ('folder_fit', 'select')
            )
        ]
        if whole:
            raise ValueError(
                f'training and validation must not share images, got {whole[0]} beside '
                'validation on the same data. Take split: train, camvid_fit or idd_lite_fit, '
                'folder_fit with validation.folder_part: select, or leave it out of validation.'
            )

    def _is_any(self, name: str, *others: str) -> bool:
        """Return whether a name of data stands for the same place as one of others."""
        places = [self.data.get(other, other) for other in others if other]
        return self.data.get(name, name) in places
