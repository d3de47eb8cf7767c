"""A second pass: where each method's best pixel threshold finds whole objects."""

from collections.abc import Callable, Mapping, Sequence

from meta_ood_training.evaluation.bench.counts import look, MethodEvaluation
from meta_ood_training.evaluation.bench.fitting import View
from meta_ood_training.evaluation.bench.kept_scores import KeptScores
from meta_ood_training.evaluation.components import ComponentPass
from meta_ood_training.scores import find_best_f1, SIZE_RULES
import numpy as np

#: Maker of counts -> counts of all frames, and the frames that were skipped.
Walk = Callable[[Callable[[], ComponentPass]], tuple[ComponentPass, dict[str, str]]]


def component_f1(
    views: Sequence[View],
    evaluations: Mapping[str, MethodEvaluation],
    walk: Walk,
    *,
    num_classes: int,
    rule: str,
    kept: KeptScores | None = None,
) -> dict[str, float]:
    """
    Return the mean F1 of components of each method, as SegmentMeIfYouCan defines it.

    Each score is cut where the F1 of its pixels is highest, as the benchmark does by default.

    Parameters
    ----------
    evaluations : mapping of str to MethodEvaluation
        Of the first pass, by method; those without scores are left out.
    rule : str
        A key of SIZE_RULES.
    kept : KeptScores, optional
        Of the first pass.

    """
    thresholds = {
        name: np.float32(find_best_f1(one.pixels.counts[name])[0])
        for name, one in evaluations.items()
        if name in one.pixels.scores
    }
    if not thresholds:
        return {}

    def masks(image: np.ndarray) -> dict[str, np.ndarray]:
        found = kept.take(image, thresholds) if kept else {}
        for view in views:
            wanted = {
                name: one
                for name, one in view.scorers.items()
                if name in thresholds and name not in found
            }
            if wanted:
                found |= look(View(view.observer, wanted), image, num_classes)[1]
        return {name: values >= thresholds[name] for name, values in found.items()}

    counts, _ = walk(lambda: ComponentPass(masks, list(thresholds), SIZE_RULES[rule]))
    return {name: one.scores().f1 for name, one in counts.counts.items()}
