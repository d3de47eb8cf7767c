"""Select frames with select objects -> scores of a network -> whether it is the best so far."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from meta_ood_ros.core.dense import predict_dense
from meta_ood_ros.core.image import to_work_size
from meta_ood_ros.core.image_file import MAX_FILE_PIXELS
from meta_ood_ros.core.networks import OodNetwork
from meta_ood_training.datasets.camvid import CamVid, EQUIVALENT_PREDICTIONS
from meta_ood_training.datasets.idd_lite import IddLite
from meta_ood_training.datasets.objects import find_coco_objects, find_ecssd_objects, ObjectSource
from meta_ood_training.datasets.sample import IGNORED, OOD, Sample, SampleDataset
from meta_ood_training.evaluation.scores import ConfusionCounts, measure_scores, ScoreHistogram
from meta_ood_training.finetuning.data.augmentation import recompress, sample_rng
from meta_ood_training.finetuning.data.pasting import paste_object, PasteSettings
from meta_ood_training.finetuning.data.street import idd_lite_part, resize_sample
from meta_ood_training.finetuning.loop.starting_network import find_data
from meta_ood_training.finetuning.loop_config import ValidationConfig
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

    """

    image: np.ndarray
    target: np.ndarray
    classes: np.ndarray


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

    def __init__(self, num_classes: int) -> None:
        self.histogram = ScoreHistogram()
        self.confusion = ConfusionCounts(num_classes, THRESHOLDS, EQUIVALENT_PREDICTIONS)

    def add(
        self, frame: ValidationFrame, network: OodNetwork, to_input: Callable[[Tensor], Tensor]
    ) -> None:
        """Count one frame."""
        device = next(network.parameters()).device
        modes = [(part, part.training) for part in network.modules()]
        network.eval()
        with torch.inference_mode():
            images = torch.from_numpy(frame.image[None]).to(device)
            logits = network(to_input(images))[0].float()
        for part, mode in modes:
            part.training = mode
        size = frame.target.shape
        dense = predict_dense(logits, (size[0], size[1]), align_corners=network.align_corners)
        used = frame.target != IGNORED
        self.histogram.update(dense.entropy[used], frame.target[used] == OOD)
        self.confusion.update(dense.semantic, dense.entropy, frame.classes)

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
    Frames are the select block of CamVid's training sequences and IDD-Lite's select sequences;
    objects are those of the select source images. Neither trains, and neither tests. Every frame
    is recompressed, whether an object was pasted or not.

    """

    def __init__(self, config: ValidationConfig, data: Mapping[str, str], stride: int) -> None:
        objects: list[ObjectSource] = []
        if config.ecssd:
            root = find_data(config.ecssd, data, use='validation')
            objects += find_ecssd_objects(root, split='select')
        if config.coco:
            root = find_data(config.coco, data, use='validation')
            objects += find_coco_objects(root, split='select')
        streets: list[tuple[SampleDataset, bool]] = []
        if config.camvid:
            root = find_data(config.camvid, data, use='validation')
            streets.append((CamVid(root, 'select'), True))
        if config.idd_lite:
            root = find_data(config.idd_lite, data, use='validation')
            streets.append((idd_lite_part(IddLite(root), 'select'), False))
        if not objects or not streets:
            raise ValueError(
                'validation needs objects and street frames, got '
                f'{len(objects)} objects and {len(streets)} street sources. '
                'Name ecssd or coco, and camvid or idd_lite, or leave validation out.'
            )
        self.frames: list[ValidationFrame] = []
        for street, names_classes in streets:
            chosen = np.linspace(0, len(street) - 1, min(config.frames, len(street))).astype(int)
            for index in chosen:
                sample = street[int(index)]
                self.frames.append(
                    _make_frame(
                        sample, objects, len(self.frames), config.short_side, stride, names_classes
                    )
                )

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> ValidationFrame:
        return self.frames[index]


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
