"""`evaluate --components`: thresholds of the score, of the bundle, and the meta classifier."""

from dataclasses import replace
import json

import cv2
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.settings import PipelineSettings
from meta_ood_training.cli import main
from meta_ood_training.datasets import Folder, IGNORED, OOD
from meta_ood_training.evaluation.bundle_scores import evaluate
from meta_ood_training.evaluation.components import accepted_mask
from meta_ood_training.evaluation.prediction import Predictor
from meta_ood_training.scores import average_components, measure_components, SizeRule
import numpy as np
import pytest

RULE = SizeRule(50, 10)  # obstacle track


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Write five frames with two objects each and void at the top."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp('components') / 'data'
    for part in ('images', 'labels'):
        (root / part).mkdir(parents=True)
    for number in range(5):
        target = np.zeros((96, 128), np.uint8)
        target[20:50, 20 : 40 + 5 * number] = OOD
        target[60:62, 100:103] = OOD  # six pixels: void on the obstacle track
        target[:5] = IGNORED
        image = cv2.GaussianBlur(rng.integers(0, 255, (96, 128, 3)).astype(np.uint8), (0, 0), 3)
        cv2.imwrite(str(root / f'images/{number}.png'), image)
        cv2.imwrite(str(root / f'labels/{number}.png'), target)
    return root


def test_rows_are_those_of_the_masks_measured_one_by_one(small_bundle, data, tmp_path):
    result = evaluate(
        f'folder={data}', bundles=small_bundle, scores='entropy', components='obstacle_track',
        output=tmp_path / 'out', draws=0, device='cpu', backend='eager',
    )  # fmt: skip
    rows = json.loads((tmp_path / 'out/scores.json').read_text())['components']
    assert [row['decision'] for row in rows] == ['best F1 of pixels', 'of the bundle']
    assert rows[1]['threshold'] == pytest.approx(0.7)
    samples = list(Folder(data, num_classes=3))
    predict = Predictor.from_bundle(load_bundle(small_bundle))
    entropies = [predict(sample.image).entropy for sample in samples]
    valid = [sample.target != IGNORED for sample in samples]
    truth = [sample.target == OOD for sample in samples]

    def f1_of_pixels(threshold):
        chosen = [one >= threshold for one in entropies]
        hit = sum((a & b & c).sum() for a, b, c in zip(chosen, truth, valid, strict=True))
        both = sum((a & c).sum() for a, c in zip(chosen, valid, strict=True))
        return 2 * hit / (both + sum(one.sum() for one in truth))

    tried = np.quantile(np.concatenate(entropies).ravel(), np.linspace(0, 1, 200))
    assert f1_of_pixels(rows[0]['threshold']) >= max(map(f1_of_pixels, tried)) - 1e-4
    for row in rows:
        threshold = np.float32(row['threshold'])
        each = [
            measure_components(entropy >= threshold, one, where, RULE)
            for entropy, one, where in zip(entropies, truth, valid, strict=True)
        ]
        expected = average_components(*map(np.concatenate, zip(*each, strict=True)))
        assert (row['siou'], row['f1']) == pytest.approx((expected.siou, expected.f1))
        assert row['objects'] == 5
    assert 'size rule obstacle_track' in result.table
    assert '| folder | small | entropy | of the bundle | 0.700 | 5 |' in result.table


def test_a_threshold_of_another_score_is_none_of_entropy(small_bundle, data):
    bundle = replace(load_bundle(small_bundle), score='margin')
    result = evaluate(
        f'folder={data}', bundles=bundle, scores='entropy', components='all', draws=0, device='cpu'
    )
    assert [row['decision'] for row in result.report['components']] == ['best F1 of pixels']


def test_the_classifier_takes_its_segments_from_the_mask(small_bundle, data):
    image = Folder(data, num_classes=3)[0].image
    pipeline = OodPipeline(load_bundle(small_bundle), PipelineSettings(work_short_side=64))
    result = pipeline(image)
    assert result.segments.count > 0
    mask = accepted_mask(pipeline, image)
    assert mask.shape == image.shape[:2]
    kept = np.isin(result.segments.labels, np.flatnonzero(result.accepted) + 1)
    assert mask.mean() == pytest.approx(kept.mean(), abs=0.02)


def test_the_rows_of_the_installed_bundle_end_with_its_classifier(data, tmp_path, capsys):
    words = ['evaluate', '--data', f'folder={data}', '--draws', '0', '--work-short-side', '96']
    assert main([*words, '--components', 'all', '--output', str(tmp_path / 'out')]) == 0
    printed = capsys.readouterr().out
    assert '| folder | default | entropy | accepted by the classifier |  | 10 |' in printed
    assert 'folder: all pixels but those that the labels leave void' in printed
    report = json.loads((tmp_path / 'out/scores.json').read_text())
    assert [row['score'] for row in report['components']] == [
        *('entropy', 'variation_ratio', 'entropy', 'entropy'),
    ]
    assert report['components'][-1]['threshold'] is None
    assert report['arguments']['components'] == 'all'
    with pytest.raises(ValueError, match="--components must be one of anomaly_track, .*got 'big'"):
        evaluate(f'folder={data}', components='big')
    assert main([*words, '--components', 'all', '--segments']) == 2
    assert '--components belongs to pixel scores' in capsys.readouterr().err
