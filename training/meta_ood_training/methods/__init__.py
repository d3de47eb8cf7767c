"""
Every OoD score of the papers: one room a method, fitted on labelled frames, on one bench.

1. `observation`   one labelled frame as a network sees it: what a method is fitted on
2. `observer`      network + image -> logits and features; a walk over labelled frames
3. `method`        what a method is: its paper, what it needs, how it is fitted
4. `registry`      name -> method; those of the robot are in `meta_ood_ros.core.scorers`
"""

from meta_ood_training.methods.method import Method, MethodNeedsError, Setup
from meta_ood_training.methods.observation import Observation
from meta_ood_training.methods.observer import Observer
from meta_ood_training.methods.registry import find_methods, METHODS

__all__ = [
    'METHODS',
    'Method',
    'MethodNeedsError',
    'Observation',
    'Observer',
    'Setup',
    'find_methods',
]
