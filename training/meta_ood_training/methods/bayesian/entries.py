"""What of dropout and ensembles stands in the registry."""

from meta_ood_training.methods.bayesian.ensemble import (
    build_ensemble,
    build_ensemble_information,
)
from meta_ood_training.methods.bayesian.mc_dropout import (
    build_mc_dropout,
    build_mc_dropout_information,
)
from meta_ood_training.methods.method import Method

_GAL = 'Gal and Ghahramani, ICML 2016'
_LAKSHMINARAYANAN = 'Lakshminarayanan et al., NeurIPS 2017'

BAYESIAN = (
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
