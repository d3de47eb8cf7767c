"""Wrong classes as what a score is to find: against scikit-learn, and through the verb."""

import json

import cv2
from meta_ood_training.cli import main
from meta_ood_training.datasets import IGNORED, IN_DISTRIBUTION, OOD, Sample
from meta_ood_training.evaluation.misclassification import WrongPixels
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_curve


def test_ap_and_max_j_are_those_of_scikit_learn_on_labelled_pixels():
    random = np.random.default_rng(0)
    target = random.choice([0, 1, 2, IN_DISTRIBUTION, OOD, IGNORED], (2, 30, 40)).astype(np.uint8)
    semantic = random.integers(0, 3, (2, 30, 40)).astype(np.uint8)
    scores = (random.normal(size=(2, 30, 40)) + (semantic != target)).astype(np.float32)
    counts = WrongPixels(['mine', 'absent'], 3, {})
    for index in range(2):
        image = np.zeros((30, 40, 3), np.uint8)
        sample = Sample(image, target[index], str(index), str(index))
        counts.update(sample, semantic[index], {'mine': scores[index], 'other': scores[index]})
    found = counts.measure()
    assert list(found) == ['mine']
    labelled = target < 3
    is_wrong, values = (semantic != target)[labelled], scores[labelled]
    assert found['mine'].positives == is_wrong.sum()
    expected = average_precision_score(is_wrong, values)
    assert found['mine'].average_precision == pytest.approx(expected, abs=1e-4)
    fpr, tpr, _ = roc_curve(is_wrong, values)
    assert found['mine'].max_j == pytest.approx((tpr - fpr).max(), abs=1e-4)


def test_a_class_that_counts_as_another_is_right():
    target = np.full((2, 2), 1, np.uint8)
    semantic = np.array([[2, 1], [0, 2]], np.uint8)
    counts = WrongPixels(['one'], 3, {2: 1})
    sample = Sample(np.zeros((2, 2, 3), np.uint8), target, 'a', 'a')
    counts.update(sample, semantic, {'one': np.arange(4, dtype=np.float32).reshape(2, 2)})
    assert (counts.histograms['one'].positives, counts.histograms['one'].negatives) == (1, 3)


def test_the_verb_reports_it_where_no_pixel_is_ood(small_bundle, tmp_path, capsys):
    for part in ('images', 'labels'):
        (tmp_path / 'data' / part).mkdir(parents=True)
    random = np.random.default_rng(0)
    target = np.zeros((64, 96), np.uint8)
    target[:, 48:] = 2
    image = random.integers(0, 256, (64, 96, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'data/images/0.png'), image)
    cv2.imwrite(str(tmp_path / 'data/labels/0.png'), target)
    words = ['evaluate', '--data', f'mine:folder={tmp_path / "data"}', '--draws', '0']
    words += ['--bundle', str(small_bundle), '--device', 'cpu', '--no-published']
    output = tmp_path / 'out'
    methods = ['--methods', 'msp,entropy', '--misclassification', '--output', str(output)]
    assert main([*words, *methods]) == 0
    text = capsys.readouterr().out
    assert 'No ranking' in text
    assert '#### mine: wrong classes found' in text
    record = json.loads((output / 'methods.json').read_text())
    ((results,),) = [list(one.values()) for one in record['results'].values()]
    wrong = results['msp']['misclassification']
    assert wrong['positives'] + wrong['negatives'] == 64 * 96
    assert f'| random (AP = share of wrong pixels) | 0.000 | {wrong["prevalence"]:.3f} | |' in text
    assert main([*words, '--misclassification']) == 2
    assert '--misclassification belongs to methods' in capsys.readouterr().err
