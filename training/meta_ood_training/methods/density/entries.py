"""What of the densities stands in the registry."""

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

_BLUM, _LEE = 'Blum et al., IJCV 2021', 'Lee et al., NeurIPS 2018'

DENSITIES = (
    Method(
        'mahalanobis',
        _LEE,
        'distance to the nearest class mean',
        build_mahalanobis,
        is_fitted=True,
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

SHARED = {
    'knn_density': ('knn_class_density',),
    'knn_class_density': ('knn_density',),
    'flow_minimum': ('flow',),
    'flow_regression': ('flow_minimum', 'flow'),
}
"""What a method was fitted to -> the others that it serves as well."""
