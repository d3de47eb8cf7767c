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
from meta_ood_training.methods.bayesian.ensemble import (
    build_ensemble,
    build_ensemble_information,
)
from meta_ood_training.methods.bayesian.mc_dropout import (
    build_mc_dropout,
    build_mc_dropout_information,
)
from meta_ood_training.methods.density.flow_method import (
    build_flow,
    build_flow_minimum,
    build_flow_regression,
)
from meta_ood_training.methods.density.scorers import (
    build_knn_class_density,
    build_knn_density,
    build_mahalanobis,
)
from meta_ood_training.methods.method import Method
from meta_ood_training.methods.odin import build_odin


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

_LIANG, _GAL = 'Liang et al., ICLR 2018', 'Gal and Ghahramani, ICML 2016'
_LAKSHMINARAYANAN, _BLUM = 'Lakshminarayanan et al., NeurIPS 2017', 'Blum et al., IJCV 2021'
_LEE = 'Lee et al., NeurIPS 2018'

_SAMPLED = (
    Method('odin', _LIANG, '-log of the largest softmax at T after an input step', build_odin),
    Method(
        'mc_dropout_entropy', _GAL, 'entropy of the mean softmax with dropout', build_mc_dropout
    ),
    Method(
        'mc_dropout_mutual_information',
        _GAL,
        'disagreement of the softmax with dropout',
        build_mc_dropout_information,
    ),
    Method(
        'ensemble_entropy',
        _LAKSHMINARAYANAN,
        'entropy of the mean softmax of several bundles',
        build_ensemble,
        retrains=True,
    ),
    Method(
        'ensemble_mutual_information',
        _LAKSHMINARAYANAN,
        'disagreement of the softmax of several bundles',
        build_ensemble_information,
        retrains=True,
    ),
)
_DENSITIES = (
    Method(
        'mahalanobis', _LEE, 'distance to the nearest class mean', build_mahalanobis, is_fitted=True
    ),
    Method(
        'knn_density',
        _BLUM,
        '-density of the 20 nearest training embeddings',
        build_knn_density,
        is_fitted=True,
    ),
    Method(
        'knn_class_density',
        _BLUM,
        '-share of the predicted class among the 100 nearest',
        build_knn_class_density,
        is_fitted=True,
    ),
    Method('flow', _BLUM, 'NLL of the last embedding under a flow', build_flow, is_fitted=True),
    Method(
        'flow_minimum',
        _BLUM,
        'least NLL over the deep layers',
        build_flow_minimum,
        is_fitted=True,
    ),
    Method(
        'flow_regression',
        _BLUM,
        'logistic regression on the NLL of the deep layers',
        build_flow_regression,
        is_fitted=True,
        uses_ood_data=True,
    ),
)

#: Name -> method, in the order of `--list-methods`.
METHODS: dict[str, Method] = {one.name: one for one in (*_SOFTMAX, *_SAMPLED, *_DENSITIES)}


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
