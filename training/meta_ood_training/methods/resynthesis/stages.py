"""What is trained: the generator, then both discrepancy networks on its swapped resyntheses."""

from collections.abc import Callable, Sequence

from meta_ood_training.methods.resynthesis.class_maps import class_shares
from meta_ood_training.methods.resynthesis.comparison import compare, Comparison, image_tensor
from meta_ood_training.methods.resynthesis.discrepancy import DiscrepancyNetwork
from meta_ood_training.methods.resynthesis.feature_levels import FeatureLevels, level_differences
from meta_ood_training.methods.resynthesis.frames import Frame, ResynthesisFrames
from meta_ood_training.methods.resynthesis.generator import SpadeGenerator
from meta_ood_training.methods.resynthesis.label_swaps import swap_labels
from meta_ood_training.methods.resynthesis.settings import ResynthesisSettings
import numpy as np
import torch
from torch import nn, Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

#: Frames from which the unit of the perceptual difference is taken, and the share that fits in it.
_SCALE_FRAMES, _SCALE_SHARE = 20, 0.99


class DiscrepancyPair(nn.Module):
    """The network of Lis et al. and that of Di Biase et al., trained on the same frames."""

    def __init__(self, channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.discrepancy = DiscrepancyNetwork(channels, num_classes)
        self.dissimilarity = DiscrepancyNetwork(channels, num_classes, with_uncertainty=True)


def generator_loss(
    generator: SpadeGenerator, levels: FeatureLevels, frame: Frame, perceptual_weight: float
) -> Tensor:
    """Return the mean |difference| of the pixels, and the weighted one of the features."""
    device = next(generator.parameters()).device
    image = image_tensor(frame.image, _size(frame), device)
    semantics = torch.from_numpy(frame.semantics).to(device)
    made = generator(class_shares(semantics, generator.num_classes))
    loss = (made - image).abs().mean()
    if perceptual_weight:
        with torch.no_grad():
            wanted = levels(image)
        differences = level_differences(wanted, levels(made))
        loss = loss + perceptual_weight * torch.stack([one.mean() for one in differences]).mean()
    return loss


class SwappedFrames:
    """
    Frames whose class maps were made wrong in places that are known.

    Parameters
    ----------
    classes : sequence of int
        Those that occur in the frames that the generator was trained on.

    """

    def __init__(
        self,
        frames: ResynthesisFrames,
        levels: FeatureLevels,
        generator: SpadeGenerator,
        settings: ResynthesisSettings,
        classes: Sequence[int],
    ) -> None:
        self.frames, self.levels, self.generator = frames, levels, generator
        self.settings, self.classes = settings, classes

    def compare(
        self, frame: Frame, rng: np.random.Generator
    ) -> tuple[Comparison, np.ndarray, np.ndarray]:
        """Return the comparison with a swapped map, where that is swapped, and the map."""
        settings = self.settings
        swapped, is_swapped = swap_labels(
            frame.semantics,
            rng,
            classes=self.classes,
            share=settings.swap_share,
            smallest=settings.smallest,
            largest=settings.largest,
        )
        device = next(self.generator.parameters()).device
        comparison = compare(
            self.levels,
            self.generator,
            image_tensor(frame.image, _size(frame), device),
            torch.from_numpy(swapped).to(device),
        )
        return comparison, is_swapped, swapped

    def perceptual_scale(self) -> float:
        """Return the difference below which nearly all pixels of unswapped frames lie."""
        device = next(self.generator.parameters()).device
        found = []
        for step in range(min(_SCALE_FRAMES, len(self.frames))):
            frame, _ = self.frames.draw(step, self.settings.seed)
            image = image_tensor(frame.image, _size(frame), device)
            semantics = torch.from_numpy(frame.semantics).to(device)
            one = compare(self.levels, self.generator, image, semantics)
            found.append(one.perceptual.flatten().cpu().numpy())
        return max(float(np.quantile(np.concatenate(found), _SCALE_SHARE)), 1e-6)


def pair_loss(swapped: SwappedFrames, scale: float) -> Callable[[DiscrepancyPair, int], Tensor]:
    """Return the loss of both networks at a step."""

    def loss(pair: DiscrepancyPair, step: int) -> Tensor:
        frame, rng = swapped.frames.draw(step, swapped.settings.seed)
        comparison, is_swapped, _ = swapped.compare(frame, rng)
        device = comparison.shares.device
        wrong = torch.from_numpy(is_swapped).to(device)
        labelled = torch.from_numpy(frame.is_labelled).to(device)
        void = torch.from_numpy(frame.is_void).to(device)
        first = pair.discrepancy(comparison.features, comparison.others, comparison.shares)
        second = pair.dissimilarity(
            comparison.features,
            comparison.others,
            comparison.shares,
            comparison.uncertainty(*_uncertainty(frame, device), scale),
        )
        # Where no label stands nothing is known to be right; what was swapped there is wrong.
        return masked_loss(first, wrong, labelled | wrong) + masked_loss(
            second, wrong | void, labelled | wrong | void
        )

    return loss


def masked_loss(logits: Tensor, is_wrong: Tensor, counts: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits (1, 1, h, w) over the pixels (h, w) that count."""
    each = binary_cross_entropy_with_logits(logits[0, 0], is_wrong.float(), reduction='none')
    return (each * counts).sum() / counts.sum().clamp_min(1)


@torch.no_grad()
def score_maps(
    pair: DiscrepancyPair, comparison: Comparison, entropy: Tensor, distance: Tensor, scale: float
) -> Tensor:
    """Return discrepancy, dissimilarity, entropy, distance, perceptual difference: (5, h, w)."""
    uncertainty = comparison.uncertainty(entropy, distance, scale)
    features, others, shares = comparison.features, comparison.others, comparison.shares
    first = torch.sigmoid(pair.discrepancy(features, others, shares))
    second = torch.sigmoid(pair.dissimilarity(features, others, shares, uncertainty))
    return torch.cat([first[0], second[0], uncertainty[0]])


def sample_scores(
    pair: DiscrepancyPair, swapped: SwappedFrames, scale: float, frames: int, pixels: int
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return scores and truth of pixels drawn from the first of the frames, swapped.

    Returns
    -------
    scores : ndarray of shape (5, N), float32
        As `score_maps` orders them.
    is_ood : ndarray of shape (N,), bool

    """
    scores, truths = [], []
    count = min(frames or len(swapped.frames), len(swapped.frames))
    for number in range(count):
        frame = swapped.frames[number]
        rng = np.random.default_rng((swapped.settings.seed, 2, number))
        comparison, is_swapped, _ = swapped.compare(frame, rng)
        entropy, distance = _uncertainty(frame, comparison.shares.device)
        maps = score_maps(pair, comparison, entropy, distance, scale).cpu().numpy()
        is_ood = is_swapped | frame.is_void
        known = np.flatnonzero(is_ood | frame.is_labelled)
        chosen = rng.permutation(known)[:pixels]
        scores.append(maps.reshape(len(maps), -1)[:, chosen])
        truths.append(is_ood.ravel()[chosen])
    return np.concatenate(scores, axis=1), np.concatenate(truths)


def _size(frame: Frame) -> tuple[int, int]:
    return frame.image.shape[0], frame.image.shape[1]


def _uncertainty(frame: Frame, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(frame.entropy).to(device), torch.from_numpy(frame.distance).to(device)
