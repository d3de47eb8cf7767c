"""Select frames with select objects -> scores of a network -> whether it is the best so far."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from meta_ood_ros.core.classes import CITYSCAPES_NAMES
from meta_ood_ros.core.dense import predict_dense
from meta_ood_ros.core.files.image_file import MAX_FILE_PIXELS
from meta_ood_ros.core.image import to_work_size
from meta_ood_ros.core.networks import OodNetwork
from meta_ood_training.datasets.camvid import CamVid
from meta_ood_training.datasets.classes_file import ClassTable, find_classes
from meta_ood_training.datasets.coco.rules import known_names
from meta_ood_training.datasets.folder import Folder
from meta_ood_training.datasets.idd_lite import IddLite
from meta_ood_training.datasets.object_folder import find_folder_objects
from meta_ood_training.datasets.objects import (
    find_coco_objects,
    find_ecssd_objects,
    NEVER_PASTED,
    ObjectSource,
)
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD, Sample, SampleDataset
from meta_ood_training.finetuning.data.augmentation import recompress, sample_rng
from meta_ood_training.finetuning.data.pasting import paste_object, PasteSettings
from meta_ood_training.finetuning.data.street import resize_sample
from meta_ood_training.finetuning.loop.starting_network import find_data
from meta_ood_training.finetuning.loop_config import ValidationConfig
from meta_ood_training.heads.beside import join_planes, run_network
from meta_ood_training.heads.scorers import scorer_of
from meta_ood_training.scores import ConfusionCounts, measure_scores, ScoreHistogram
import numpy as np
import torch
from torch import Tensor
import torch.distributed as dist
from torch.utils.data import Dataset

JPEG_QUALITY = 90
VALIDATION_SEED = 20
OBJECT = PasteSettings(area_min=0.0006, area_max=0.03, top=0.35)
"""Objects of about 14 to 100 px across on a 512 x 683 frame, mostly near the ground."""
THRESHOLDS = (0.5,)


@dataclass(frozen=True, eq=False)
class ValidationFrame:
    """
    One validation frame at work size.

    Attributes
    ----------
    image : ndarray of shape (H, W, 3), uint8
        RGB; an object is pasted on every other frame.
    target : ndarray of shape (H, W), uint8
        OOD = 254 on the object, IGNORED where nothing is labelled, else the label.
    classes : ndarray of shape (H, W), uint8
        Class ids where the frame's labels are class ids, else IGNORED: what mean IoU counts.
    equivalent_predictions : mapping of int to int
        Predicted class id -> class id that counts as the same in this frame's labels.

    """

    image: np.ndarray
    target: np.ndarray
    classes: np.ndarray
    name: str = ''
    equivalent_predictions: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """
    What one validation says.

    Attributes
    ----------
    prevalence : float
        Share of OoD pixels: the average precision of a random score.
    mean_iou : float
        Over the labelled classes of the frames whose labels are class ids; NaN without.

    """

    average_precision: float
    fpr95: float
    auroc: float
    prevalence: float
    mean_iou: float

    def as_dict(self) -> dict[str, float]:
        """Return name -> value."""
        return asdict(self)

    def is_better(
        self, best: 'Scores | None', start: 'Scores | None', mean_iou_loss: float
    ) -> bool:
        """Return whether a checkpoint with these scores is to replace the best so far."""
        if start is not None and self.mean_iou < start.mean_iou - mean_iou_loss:
            return False
        return best is None or self.average_precision > best.average_precision


class ScoreSums:
    """Counts of pixels over validation frames."""

    def __init__(self, num_classes: int, kind: str = 'entropy_maximization') -> None:
        self.kind = kind
        self.histogram = ScoreHistogram()
        self.confusion = ConfusionCounts(num_classes, THRESHOLDS)

    def add(
        self, frame: ValidationFrame, network: OodNetwork, to_input: Callable[[Tensor], Tensor]
    ) -> None:
        """Count one frame."""
        strangers = (frame.classes >= network.num_classes) & (frame.classes < IN_DISTRIBUTION)
        if strangers.any():
            raise ValueError(
                f'labels of validation must be classes of the network, 0 to '
                f'{network.num_classes - 1}, got {int(frame.classes[strangers][0])} in '
                f'{frame.name}. Correct them, or state its ids in classes.yaml.'
            )
        device = next(network.parameters()).device
        modes = [(part, part.training) for part in network.modules()]
        network.eval()
        with torch.inference_mode():
            images = torch.from_numpy(frame.image[None]).to(device)
            outputs = run_network(network, to_input(images))
        for part, mode in modes:
            part.training = mode
        size = int(frame.target.shape[0]), int(frame.target.shape[1])
        corners = network.align_corners
        dense = predict_dense(outputs.logits[0], size, align_corners=corners)
        score = dense.entropy
        if self.kind != 'entropy_maximization':
            joined = join_planes(outputs, align_corners=corners)
            score = scorer_of(self.kind, align_corners=corners).score(frame.image, joined[0])
        used = frame.target != IGNORED
        self.histogram.update(score[used], frame.target[used] == OOD)
        self.confusion.update(
            _as_counted(dense.semantic, frame.equivalent_predictions), dense.entropy, frame.classes
        )

    def all_reduce(self) -> None:
        """Add up the counts of all ranks, on every rank."""
        everywhere: list[ScoreSums | None] = [None] * dist.get_world_size()
        dist.all_gather_object(everywhere, self)
        for rank, other in enumerate(everywhere):
            if rank != dist.get_rank() and other is not None:
                self.histogram.merge(other.histogram)
                self.confusion.counts += other.confusion.counts

    def scores(self) -> Scores:
        """Return the scores of all counted frames."""
        pixels = measure_scores(self.histogram.counts())
        return Scores(
            pixels.average_precision,
            pixels.fpr95,
            pixels.auroc,
            pixels.prevalence,
            self.confusion.mean_iou(),
        )


class ValidationFrames(Dataset[ValidationFrame]):
    """
    The validation set of a run: fixed frames, made once and kept in memory.

    Notes
    -----
    Frames are the select block of CamVid's training sequences, IDD-Lite's select sequences and
    one's own folder; objects are those of the select source images. Neither trains, and neither
    tests. Every frame is recompressed, whether an object was pasted or not.

    """

    def __init__(self, config: ValidationConfig, data: Mapping[str, str], stride: int) -> None:
        streets: list[tuple[SampleDataset, bool]] = []
        own: ClassTable | None = None
        if config.camvid:
            root = find_data(config.camvid, data, use='validation')
            streets.append((CamVid(root, 'select'), True))
        if config.idd_lite:
            root = find_data(config.idd_lite, data, use='validation')
            streets.append((IddLite(root, part='select').with_coarse_targets(), False))
        if config.folder:
            root = find_data(config.folder, data, use='validation')
            own = find_classes(root)
            # Without classes.yaml any id is read, and compared with the network's number later.
            count = None if own else IN_DISTRIBUTION
            streets.append((Folder(root, num_classes=count, part=config.folder_part), True))
        objects = _open_objects(config, data, own.names if own else CITYSCAPES_NAMES)
        if not objects or not streets:
            raise ValueError(
                'validation needs objects and street frames, got '
                f'{len(objects)} objects and {len(streets)} street sources. Name ecssd, coco or '
                'objects (a fifth of them is for validation, shared out by name), and camvid, '
                'idd_lite or folder, or leave validation out.'
            )
        self.frames: list[ValidationFrame] = []
        for street, names_classes in streets:
            chosen = np.linspace(0, len(street) - 1, min(config.frames, len(street))).astype(int)
            for index in chosen:
                sample = street[int(index)]
                number = len(self.frames)
                made = _make_frame(
                    sample, objects, number, config.short_side, stride, names_classes
                )
                same = getattr(street, 'equivalent_predictions', {})
                self.frames.append(
                    replace(made, name=sample.name, equivalent_predictions=dict(same))
                )

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> ValidationFrame:
        return self.frames[index]


def _open_objects(
    config: ValidationConfig, data: Mapping[str, str], class_names: Sequence[str]
) -> list[ObjectSource]:
    """Return the select objects of all sources."""
    objects: list[ObjectSource] = []
    if config.ecssd:
        root = find_data(config.ecssd, data, use='validation')
        objects += find_ecssd_objects(root, split='select')
    if config.coco:
        root = find_data(config.coco, data, use='validation')
        known = (*known_names(class_names, NEVER_PASTED), *config.known_categories)
        objects += find_coco_objects(root, split='select', known_categories=known)
    if config.objects:
        root = find_data(config.objects, data, use='validation')
        objects += find_folder_objects(root, split='select')
    return objects


def _as_counted(semantic: np.ndarray, same: Mapping[int, int]) -> np.ndarray:
    """Return predictions with each class in the place of what counts as it."""
    table = np.arange(256, dtype=np.uint8)
    for predicted, counted in same.items():
        table[predicted] = counted
    return table[semantic]


def _make_frame(
    sample: Sample,
    objects: list[ObjectSource],
    number: int,
    short_side: int,
    stride: int,
    names_classes: bool,
) -> ValidationFrame:
    height, width = to_work_size(
        sample.target.shape, short_side=short_side, stride=stride, max_pixels=MAX_FILE_PIXELS
    )
    sample = resize_sample(sample, (height, width))
    rng = sample_rng(VALIDATION_SEED, 0, number)
    if number % 2 == 0:
        cut_out = objects[int(rng.integers(len(objects)))].load()
        sample = paste_object(sample, cut_out, OBJECT, rng)
    classes = sample.target if names_classes else np.full_like(sample.target, IGNORED)
    return ValidationFrame(recompress(sample.image, JPEG_QUALITY), sample.target, classes)
