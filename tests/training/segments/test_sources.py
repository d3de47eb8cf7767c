"""Which sources of frames are refused before anything is opened."""

from types import SimpleNamespace

from meta_ood_training.segments.options import ExtractionOptions
from meta_ood_training.segments.sources import open_sources
import pytest

COLOURS = SimpleNamespace(class_names=('red', 'green', 'blue'), num_classes=3)


@pytest.mark.parametrize(
    ('given', 'sentence'),
    [
        (
            {'data': ['camvid_test=nowhere']},
            'labels of camvid_test are Cityscapes train ids, got a',
        ),
        (
            {'scenes': ['0:3']},
            r'labels of rendered scenes .* classes \(red, green, blue, \.\.\.\)',
        ),
    ],
)
def test_labels_of_other_classes_than_the_networks_are_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        open_sources(ExtractionOptions(**given), COLOURS)
