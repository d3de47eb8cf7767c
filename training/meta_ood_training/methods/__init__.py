"""
Every OoD score of the papers: one room a method, fitted on labelled frames, on one bench.

1. `observation`   one labelled frame as a network sees it: what a method is fitted on
2. `observer`      network + image -> logits and features; a walk over labelled frames
3. `method`        what a method is: its paper, what it needs, how it is fitted
4. `standardized_max_logit`, `vim`    fitted for scorers of the robot
5. `own_pass`      the network as a method runs it itself; `layers`: and looks into it
6. `odin`          a step of the input, a high temperature
7. `bayesian`      dropout and ensembles
8. `density`       Mahalanobis, nearest neighbours, flows
9. `trained`       those whose network was trained again, or with a head: a bundle each
10. `resynthesis`  what cannot be made again of its classes; a verb trains it
11. `fitted_file`  what was fitted <-> a file; `served`: and what a bundle keeps of it
12. `registry`     name -> method; those of the robot are in `meta_ood_ros.core.scorers`
"""

from typing import TYPE_CHECKING

from meta_ood_training.lazy_exports import export_lazily

if TYPE_CHECKING:
    from meta_ood_training.methods.method import Method as Method
    from meta_ood_training.methods.method import MethodNeedsError as MethodNeedsError
    from meta_ood_training.methods.method import Setup as Setup
    from meta_ood_training.methods.observation import Observation as Observation
    from meta_ood_training.methods.observer import Observer as Observer
    from meta_ood_training.methods.registry import find_methods as find_methods
    from meta_ood_training.methods.registry import METHODS as METHODS

__getattr__ = export_lazily(
    __name__,
    {
        'METHODS': 'registry',
        'Method': 'method',
        'MethodNeedsError': 'method',
        'Observation': 'observation',
        'Observer': 'observer',
        'Setup': 'method',
        'find_methods': 'registry',
    },
)
