"""Name -> method; the order is that of the papers' groups."""

from collections.abc import Sequence
from difflib import get_close_matches

from meta_ood_ros.core.scorers import (
    EntropyScorer,
    LogitScorer,
    MarginScorer,
    MaxSoftmaxScorer,
    VariationRatioScorer,
)
from meta_ood_training.methods.method import Method
from meta_ood_training.methods.resynthesis.scorers import build_resynthesis, build_synboost


def _of_logits(scorer: type[LogitScorer], paper: str, summary: str) -> Method:
    """Return a method that needs nothing but logits."""
    return Method(
        scorer.name,
        paper,
        summary,
        lambda setup: scorer(align_corners=setup.align_corners),
        is_served=True,
    )


_SOFTMAX = (
    _of_logits(EntropyScorer, 'Chan et al., ICCV 2021', 'softmax entropy over log C'),
    _of_logits(MaxSoftmaxScorer, 'Hendrycks and Gimpel, ICLR 2017', '-log of the largest softmax'),
    _of_logits(MarginScorer, 'Chan et al., ICCV 2021', '1 - p1 + p2, the two largest softmax'),
    _of_logits(VariationRatioScorer, 'Chan et al., ICCV 2021', '1 - p1, order of pixels as msp'),
)

_RESYNTHESIS = (
    Method(
        'resynthesis',
        'Lis et al., ICCV 2019 (small)',
        'image against what a small generator makes of its predicted classes',
        build_resynthesis,
    ),
    Method(
        'synboost',
        'Di Biase et al., CVPR 2021 (small)',
        'the same with softmax uncertainty, in an ensemble; trained on void, too',
        build_synboost,
        uses_ood_data=True,
    ),
)

#: Name -> method, in the order of `--list-methods`.
METHODS: dict[str, Method] = {one.name: one for one in (*_SOFTMAX, *_RESYNTHESIS)}


def find_methods(names: Sequence[str]) -> list[Method]:
    """
    Return methods by name.

    Parameters
    ----------
    names : sequence of str
        Keys of METHODS; ('all',) is every one.

    Returns
    -------
    list of Method
        In the order given, each once.

    """
    if tuple(names) == ('all',):
        return list(METHODS.values())
    for name in names:
        if name not in METHODS:
            nearest = get_close_matches(name, METHODS, 1, 0.4)
            hint = f' Did you mean {nearest[0]!r}?' if nearest else ''
            raise ValueError(
                f'--methods must be all, or of {", ".join(METHODS)}, got {name!r}.{hint}'
            )
    return [METHODS[name] for name in dict.fromkeys(names)]
