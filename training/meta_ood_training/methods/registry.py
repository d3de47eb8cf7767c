"""Name -> method; the order is that of the papers' groups."""

from collections.abc import Sequence
from difflib import get_close_matches

from meta_ood_ros.core.scorers import (
    EnergyScorer,
    EntropyScorer,
    LogitScorer,
    MarginScorer,
    MaxLogitScorer,
    MaxSoftmaxScorer,
    Scorer,
    VariationRatioScorer,
)
from meta_ood_training.methods.bayesian.entries import BAYESIAN
from meta_ood_training.methods.density.entries import DENSITIES
from meta_ood_training.methods.method import Method, Setup
from meta_ood_training.methods.odin import build_odin
from meta_ood_training.methods.resynthesis.scorers import build_resynthesis, build_synboost
from meta_ood_training.methods.standardized_max_logit import fit_standardized_max_logit
from meta_ood_training.methods.trained import TRAINED
from meta_ood_training.methods.vim import fit_vim


def _of_logits(scorer: type[LogitScorer], paper: str, summary: str) -> Method:
    """Return a method that needs nothing but logits."""
    return Method(
        scorer.name,
        paper,
        summary,
        lambda setup: scorer(align_corners=setup.align_corners),
        is_served=True,
    )


def _standardized(setup: Setup) -> Scorer:
    walk = setup.walk('standardized_max_logit')
    return fit_standardized_max_logit(walk, align_corners=setup.align_corners)


def _vim(setup: Setup) -> Scorer:
    return fit_vim(
        lambda: setup.walk('vim'),
        setup.network.last_weights(),
        align_corners=setup.align_corners,
    )


_OF_LOGITS = (
    _of_logits(EntropyScorer, 'Chan et al., ICCV 2021', 'softmax entropy over log C'),
    _of_logits(MaxSoftmaxScorer, 'Hendrycks and Gimpel, ICLR 2017', '-log of the largest softmax'),
    _of_logits(MarginScorer, 'Chan et al., ICCV 2021', '1 - p1 + p2, the two largest softmax'),
    _of_logits(VariationRatioScorer, 'Chan et al., ICCV 2021', '1 - p1, order of pixels as msp'),
    _of_logits(MaxLogitScorer, 'Hendrycks et al., ICML 2022', '-max logit'),
    _of_logits(EnergyScorer, 'Liu et al., NeurIPS 2020', '-log sum exp of the logits'),
)
_FITTED = (
    Method(
        'standardized_max_logit',
        'Jung et al., ICCV 2021',
        'max logit over mean and deviation of its class',
        _standardized,
        is_fitted=True,
        is_served=True,
    ),
    Method(
        'vim',
        'Wang et al., CVPR 2022',
        'features outside their principal space, and energy',
        _vim,
        is_fitted=True,
        is_served=True,
    ),
)

_ODIN = Method(
    'odin', 'Liang et al., ICLR 2018', '-log p1 at T = 1000 after a step of the input', build_odin
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
METHODS: dict[str, Method] = {
    one.name: one
    for one in (
        *_OF_LOGITS,
        _ODIN,
        *BAYESIAN,
        *_FITTED,
        *DENSITIES,
        *TRAINED,
        *_RESYNTHESIS,
    )
}


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
