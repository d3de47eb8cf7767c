"""Ranked methods -> ROC and PR curves of all, and the frames on which each was best and worst."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
from matplotlib import colormaps
from meta_ood_ros.demo.contact_sheet import ContactSheet
from meta_ood_training.datasets import OOD, SampleDataset
from meta_ood_training.evaluation.bench.counts import look
from meta_ood_training.evaluation.bench.fitting import View
from meta_ood_training.evaluation.bench.ranking import Row
from meta_ood_training.evaluation.figures import new_figure, save, thin
from meta_ood_training.scores import precision_recall_curve, roc_curve, ScoreCounts
import numpy as np
from numpy.typing import NDArray

_TRUTH = (90, 220, 90)


def save_method_curves(
    rows: Sequence[Row], counts: Mapping[tuple[str, str], ScoreCounts], title: str, path: Path
) -> None:
    """
    Draw the curves of all methods, the legend in the order of AP.

    Parameters
    ----------
    counts : mapping of (str, str) to ScoreCounts
        By bundle and method.

    """
    figure = new_figure(11.5, max(4.6, 1.2 + 0.2 * len(rows)))
    roc, recall = figure.subplots(1, 2)
    several = len({row.bundle for row in rows}) > 1
    for place, row in enumerate(rows):
        one = counts[row.bundle, row.method]
        label = f'{row.method}, {row.bundle}' if several else row.method
        style = {
            'color': colormaps['tab20'](place % 20),
            'linestyle': ('-', '--', '-.')[place // 20 % 3],
            'linewidth': 1.1,
        }
        roc.plot(*thin(*roc_curve(one)), **style)
        recall.step(
            *thin(*precision_recall_curve(one)),
            where='pre',
            label=f'{label}: AP {row.scores.average_precision:.3f}, AUROC {row.scores.auroc:.3f}',
            **style,
        )
    prevalence = rows[0].scores.prevalence
    roc.plot([0, 1], [0, 1], ':', color='grey')
    roc.axhline(0.95, color='grey', linewidth=0.5)
    recall.axhline(prevalence, linestyle=':', color='grey', label=f'random: {prevalence:.3f}')
    for axes, words in (
        (roc, ('false positive rate', 'true positive rate')),
        (recall, ('recall', 'precision')),
    ):
        axes.set(xlabel=words[0], ylabel=words[1], xlim=(0, 1), ylim=(0, 1.01))
    figure.legend(loc='outside right center', fontsize=7)
    figure.suptitle(title)
    save(figure, path)


def draw_method_gallery(
    view: View,
    name: str,
    dataset: SampleDataset,
    ordered: Sequence[tuple[int, float]],
    *,
    count: int,
    num_classes: int,
) -> NDArray[np.uint8] | None:
    """
    Return the frames on which a method was best, then those on which it was worst.

    Parameters
    ----------
    ordered : sequence of (int, float)
        Frames and the AP in each, the best first.
    count : int
        Frames of either kind.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8, or None
        RGB: the score from dark to bright over each frame's own range, OoD objects outlined;
        None without any frame.

    """
    best = list(ordered[:count])
    worst = [one for one in ordered[::-1][:count] if one not in best]
    chosen = [('best', *one) for one in best] + [('worst', *one) for one in worst]
    sheet = ContactSheet(len(chosen))
    only = View(view.observer, {name: view.scorers[name]})
    for word, index, precision in chosen:
        sample = dataset[index]
        _, maps, _ = look(only, sample.image, num_classes)
        if name not in maps:
            continue
        picture = draw_scores(sample.image, maps[name], sample.target)
        sheet.add(picture, f'{word}: {sample.name}, AP {precision:.3f}')
    return sheet.draw(f'{name}: bright = out-of-distribution, objects outlined')


def draw_scores(
    image: NDArray[np.uint8], scores: NDArray[np.float32], target: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return scores (H, W) over the greys of an image (H, W, 3), OoD of the target outlined."""
    low, high = np.percentile(scores, (1, 99.5))
    share = np.clip((scores - low) / max(float(high - low), 1e-12), 0.0, 1.0)
    heat = cv2.applyColorMap((255 * share).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    picture = np.ascontiguousarray(cv2.addWeighted(grey, 0.3, heat, 0.7, 0.0))
    is_ood = (target == OOD).astype(np.uint8)
    contours, _ = cv2.findContours(is_ood, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, _TRUTH, max(1, image.shape[1] // 400))
    return np.asarray(picture, dtype=np.uint8)
