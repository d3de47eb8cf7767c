"""Explained segments are shown where they are, and metrics of classes by the classes' names."""

import cv2
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.settings import PipelineSettings
from meta_ood_training import extract_segments, fit_meta
from meta_ood_training.meta.judging.decision_pictures import ACCEPTED, REJECTED
from meta_ood_training.meta.reporting.metric_names import name_metrics
from meta_ood_training.meta.reporting.summary import summarize
import numpy as np
import pytest

THRESHOLD = 0.8


@pytest.fixture(scope='module')
def fitted(small_bundle, tmp_path_factory):
    """Fit on sixteen frames, so that two of them are explained."""
    root = tmp_path_factory.mktemp('explained')
    for kind in ('images', 'labels'):
        (root / 'frames' / kind).mkdir(parents=True)
    for seed in range(16):
        small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        image = cv2.resize(small, (96, 64), interpolation=cv2.INTER_CUBIC)
        label = np.zeros((64, 96), np.uint8)
        label[4 + seed : 24 + seed, 8:40] = 254
        cv2.imwrite(str(root / 'frames' / 'images' / f'{seed}.png'), image)
        cv2.imwrite(str(root / 'frames' / 'labels' / f'{seed}.png'), label)
    data = f'folder={root / "frames"}'
    extract_segments(
        root / 'rows', bundle=small_bundle, data=data, thresholds=THRESHOLD, device='cpu'
    )

    def fit(**options):
        return fit_meta(
            root / 'rows',
            bundle=small_bundle,
            report=root / 'report',
            group_by='image',
            only=True,
            folds=2,
            **options,
        )

    return root, fit


def test_explained_segments_are_drawn_with_their_box(fitted, small_bundle):
    root, fit = fitted
    explained = fit(explain=['3', '7']).report['explanation']['segments']
    assert {one['image'] for one in explained} <= {'folder/3', 'folder/7'}
    assert len(explained) >= 2
    pipeline = OodPipeline(small_bundle)
    settings = PipelineSettings(entropy_threshold=THRESHOLD, core_threshold=0.0)
    for one in explained:
        name = one['image'].removeprefix('folder/')
        image = cv2.imread(str(root / 'frames' / 'images' / f'{name}.png'))[..., ::-1]
        result = pipeline(np.ascontiguousarray(image), settings=settings)
        rows, columns = np.nonzero(result.segments.labels == one['segment'])
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert one['box'] == box
        picture = cv2.imread(str(root / 'report' / one['picture']))
        assert picture.shape[:2] == result.segments.labels.shape
        x, y, width, height = box
        edge = picture[y + height - 2 : y + height + 1, x : x + width, ::-1]
        is_drawn = np.isin(edge[..., 0], [ACCEPTED[0], REJECTED[0]]).any(axis=0)
        assert is_drawn.mean() > 0.5
    text = (root / 'report' / 'report.md').read_text()
    assert f'![{one["image"]}]({one["picture"]})' in text
    assert f'Box in work pixels: x {box[0]}, y {box[1]}, {box[2]} x {box[3]}.' in text


def test_images_that_are_gone_are_explained_without_a_picture(fitted):
    root, fit = fitted
    (root / 'frames').rename(root / 'moved')
    try:
        result = fit(explain=['3'])
    finally:
        (root / 'moved').rename(root / 'frames')
    notes = [one for one in result.report['notes'] if 'without a picture' in one]
    assert notes == ['folder/3 is explained without a picture: it is not where it was.']
    assert 'box' not in result.report['explanation']['segments'][0]


def test_metrics_of_a_class_bear_its_name():
    names = ('size', 'probability_mean_1', 'neighbour_share_0', 'probability_mean_7')
    expected = ('size', 'probability_mean_person', 'neighbour_share_road', 'probability_mean_7')
    assert name_metrics(names, ('road', 'person')) == expected


def test_the_summary_tells_what_the_report_holds(fitted):
    _, fit = fitted
    report = fit().report
    (scores,) = report['thresholds']
    errors = scores['logistic_regression']['at_operating_point']
    lines = summarize(report).splitlines()
    assert lines[0].startswith(
        f'threshold 0.8: {scores["segments"]} segments, {scores["true_segments"]} true, of 16 im'
    )
    assert lines[1].startswith(
        f'  logistic regression: {errors["false_positives"]} false, '
        f'{errors["missed_objects"]} of 16 objects missed; AUROC '
    )
    assert 'groups in 2 folds)' in lines[1]
    assert lines[2] == f'what decides: {", ".join(report["explanation"]["lars_order"][:5])}'
    assert not any(one.endswith(('_0', '_1', '_2')) for one in report['explanation']['lars_order'])
