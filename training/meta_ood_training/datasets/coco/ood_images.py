"""COCO instances -> OoD proxy images: objects that the network does not know, labelled OoD."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meta_ood_training.datasets.coco.annotations import (
    CocoImage,
    decode_instance,
    read_coco_image,
    read_instances,
)
from meta_ood_training.datasets.coco.rules import CocoRules, OUR_RULES, same_case
from meta_ood_training.datasets.sample import OOD, parse_background, Sample
from meta_ood_training.datasets.sources import in_split
import numpy as np


@dataclass(frozen=True)
class CocoReport:
    """
    What the rules did.

    Attributes
    ----------
    removed : dict of str to int
        Images by the first rule that removed them, in the order in which rules are applied.
    pixel_share : dict of str to float
        Share of all OoD pixels of the kept images by supercategory (figure 3 of Chan et al.);
        where instances overlap the later one counts.
    skipped : dict of str to int
        Annotations that cannot be used, by reason; their images are left out.

    """

    total: int
    kept: int
    removed: Mapping[str, int]
    pixel_share: Mapping[str, float]
    ood_share: float
    skipped: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f'COCO-OoD proxies: {self.kept} of {self.total} images kept']
        lines += [f'  removed by {rule}: {count}' for rule, count in self.removed.items()]
        lines += [f'  annotations with {why}: {count}' for why, count in self.skipped.items()]
        lines += [f'  OoD pixels: {self.ood_share:.1%} of the kept images, of which']
        ranked = sorted(self.pixel_share.items(), key=lambda item: -item[1])
        lines += [f'    {name}: {share:.1%}' for name, share in ranked]
        return '\n'.join(lines)


class CocoOod:
    """
    COCO images as OoD proxies, masks decoded from the annotations when asked.

    Parameters
    ----------
    root : str or Path
        Holds <part>/<image>.jpg and annotations/instances_<part>.json; or is an annotation file
        of any tool, with its images beside it or in `images`, or the folder of such a file.
    part : str
        `train2017` or another part.
    rules : CocoRules
        Which images, and what lies beside the objects.
    split : str
        `all`, or `train`, `select`, `test` by source image (see `sources`).
    progress : callable, optional
        Wraps an iterable over images while masks are measured (a bar over 46,000 images).

    Notes
    -----
    Every instance mask, crowds included, is OoD. The group is the image.

    """

    region_of_interest = 'instance masks; the rest as the rule for the background says'

    def __init__(
        self,
        root: str | Path,
        part: str = 'train2017',
        *,
        rules: CocoRules = OUR_RULES,
        split: str = 'all',
        progress: Callable[[Sequence[Any]], Collection[Any]] | None = None,
    ) -> None:
        self.rules = rules
        self._beside = parse_background(rules.background)
        self._progress = progress or (lambda images: images)
        content = read_instances(Path(root), part)
        self._categories, images = content.categories, content.images
        self._skipped = content.skipped
        self._excluded = {same_case(name) for name in rules.excluded_categories}
        self._check_categories()
        self._total = len(images)
        self._removed: Counter[str] = Counter()
        if split != 'all':
            images = self._filter(
                images, 'source split', lambda image: in_split('coco', image.name, split)
            )
        if self._skipped:
            # What they mean to show may be known, and would be background.
            images = self._filter(images, 'unusable annotation', lambda image: not image.skipped)
        images = self._filter(images, 'known category', self._is_unknown)
        images = self._filter(
            images,
            'size',
            lambda image: image.size[0] >= rules.min_height and image.size[1] >= rules.min_width,
        )
        if not rules.keep_empty:
            images = self._filter(images, 'no instance', lambda image: len(image.instances) > 0)
        if rules.min_share > 0 or rules.max_share < 1:
            images = self._filter(
                self._progress(images),
                'labelled share',
                lambda image: (
                    rules.min_share
                    <= float((self._supercategory_map(image) > 0).mean())
                    <= rules.max_share
                ),
            )
        self._images = tuple(images)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all images, in order."""
        return tuple(image.name for image in self._images)

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of all images, in order."""
        return tuple(f'coco/{image.name}' for image in self._images)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        entry = self._images[index]
        image = read_coco_image(entry)
        mask = self._supercategory_map(entry) > 0
        target = np.where(mask, np.uint8(OOD), np.uint8(self._beside))
        return Sample(image, target, entry.name, f'coco/{entry.name}')

    def shares(self) -> np.ndarray:
        """
        Return the labelled OoD share of every image.

        Returns
        -------
        ndarray of shape (len(self),), float64
            In [0, 1].

        """
        images = self._progress(self._images)
        return np.array([(self._supercategory_map(image) > 0).mean() for image in images])

    def report(self) -> CocoReport:
        """
        Return what the rules removed and what the kept pixels show.

        Returns
        -------
        CocoReport
            Decodes every mask of the kept images: about a millisecond each instance.

        """
        names = self._supercategories()
        counts = np.zeros(len(names) + 1, np.int64)
        for image in self._progress(self._images):
            labels = self._supercategory_map(image)
            counts += np.bincount(labels.ravel(), minlength=counts.size)
        ood = max(int(counts[1:].sum()), 1)
        return CocoReport(
            self._total,
            len(self._images),
            dict(self._removed),
            {
                name: int(count) / ood
                for name, count in zip(names, counts[1:], strict=True)
                if count
            },
            float(counts[1:].sum() / max(counts.sum(), 1)),
            self._skipped,
        )

    def _filter(
        self, images: Collection[CocoImage], rule: str, keep: Callable[[CocoImage], bool]
    ) -> list[CocoImage]:
        kept = [image for image in images if keep(image)]
        self._removed[rule] = len(images) - len(kept)
        return kept

    def _is_unknown(self, image: CocoImage) -> bool:
        present = {
            same_case(self._categories[instance.category][0]) for instance in image.instances
        }
        return present.isdisjoint(self._excluded)

    def _supercategories(self) -> list[str]:
        return sorted({supercategory for _, supercategory in self._categories.values()})

    def _supercategory_map(self, image: CocoImage) -> np.ndarray:
        """Draw 1 + index of the supercategory of each instance, 0 beside them."""
        names = self._supercategories()
        labels = np.zeros(image.size, np.uint16)
        for instance in image.instances:
            mask = decode_instance(image, instance)
            labels[mask] = 1 + names.index(self._categories[instance.category][1])
        return labels

    def _check_categories(self) -> None:
        names = sorted({name for name, _ in self._categories.values()})
        there = {same_case(name) for name in (*names, *self.rules.optional_categories)}
        strangers = [one for one in self.rules.excluded_categories if same_case(one) not in there]
        if strangers:
            raise ValueError(
                f'excluded_categories must be COCO categories, got {strangers}, which the '
                f'annotations do not have. They list: {", ".join(names)}.'
            )
