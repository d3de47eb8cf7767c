"""What is said when the thresholds in use are not those that were fitted together."""

from types import SimpleNamespace

from meta_ood_ros.core.settings import PipelineSettings
from meta_ood_ros.node.threshold_warning import threshold_warning
import pytest

BUNDLE = SimpleNamespace(entropy_threshold=0.8, meta_threshold=0.1)


@pytest.mark.parametrize(
    ('fitted', 'entropy', 'meta', 'said'),
    [
        (0.8, 0.8, -1.0, ''),
        (0.8, 0.8, 0.3, ''),  # the user's own choice
        (0.5, 0.5, 0.3, ''),  # both chosen by the user
        (0.5, 0.5, 0.1, ''),  # likewise, though it is the bundle's
        (None, 0.5, -1.0, ''),  # no classifier, nothing that could belong elsewhere
        (0.8, 0.75, -1.0, 'the one of 0.8 is used'),
        (0.5, 0.5, -1.0, 'chosen for entropy_threshold 0.8, now it is 0.5'),
    ],
)
def test_thresholds_that_were_not_fitted_together_are_told(fitted, entropy, meta, said):
    result = SimpleNamespace(classifier_threshold=fitted, entropy_threshold=entropy)
    told = threshold_warning(result, BUNDLE, PipelineSettings(meta_threshold=meta))
    assert said in told
    assert bool(told) == bool(said)
