"""A second pass: where each method's best pixel threshold finds whole objects."""

from collections.abc import Callable, Mapping, Sequence

from meta_ood_training.evaluation.bench.counts import look, MethodEvaluation
from meta_ood_training.evaluation.bench.fitting import View
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

    """
    thresholds = {
        name: np.float32(find_best_f1(one.pixels.counts[name])[0])
        for name, one in evaluations.items()
        if name in one.pixels.scores
    }
    if not thresholds:
        return {}

    def masks(image: np.ndarray) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for view in views:
            wanted = {name: one for name, one in view.scorers.items() if name in thresholds}
            _, maps, _ = look(View(view.observer, wanted), image, num_classes)
            found |= {name: values >= thresholds[name] for name, values in maps.items()}
        return found

    counts, _ = walk(lambda: ComponentPass(masks, list(thresholds), SIZE_RULES[rule]))
    return {name: one.scores().f1 for name, one in counts.counts.items()}
