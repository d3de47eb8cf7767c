"""`meta-ood-train fit-meta` on segments of known distribution: bundle, report and every edge."""

from dataclasses import replace
import json
import re

from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.segment_metrics import metric_names
from meta_ood_training.cli import main
from meta_ood_training.meta.fitting.fit import fit_meta_classifier, MetaFitSettings
from meta_ood_training.meta.fitting.gradient_boosting import BoostingSettings, grow_trees
from meta_ood_training.meta.fitting.neural_meta import NeuralSettings
from meta_ood_training.meta.judging.decisions import accept_across_folds
from meta_ood_training.meta.judging.evaluation import evaluate_threshold
from meta_ood_training.meta.judging.segment_errors import count_errors
from meta_ood_training.meta.options import KINDS
from meta_ood_training.segments.loading import load_segment_set
import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

QUICK = ['--epochs', '3', '--metric-counts', '1', '4', '--trees', '5', '--leaves', '4']


def run(tmp_path, small_bundle, *words, report='report'):
    """Run the verb; return its exit status and its report as numbers."""
    status = main(
        [
            'fit-meta',
            *map(str, words),
            '--bundle',
            str(small_bundle),
            '--report',
            str(tmp_path / report),
        ]
    )
    path = tmp_path / report / 'report.json'
    return status, json.loads(path.read_text()) if path.exists() else None


@pytest.fixture(scope='module')
def fitted(make_segments, small_bundle, tmp_path_factory):
    """Fit once: report folder, its numbers, the new bundle."""
    tmp_path = tmp_path_factory.mktemp('fit')
    folder = make_segments(60, separation=3.0)
    status, report = run(tmp_path, small_bundle, folder, '--output', tmp_path / 'bundle', *QUICK)
    assert status == 0
    return tmp_path, report, folder


def test_bundle_serves_what_scikit_learn_fits(fitted):
    tmp_path, report, folder = fitted
    bundle = load_bundle(tmp_path / 'bundle')
    assert [one.entropy_threshold for one in bundle.meta_classifiers] == [0.5, 0.7]
    for classifier in bundle.meta_classifiers:
        segments = load_segment_set([folder], classifier.entropy_threshold)
        scaler = StandardScaler().fit(segments.metrics)
        model = LogisticRegression(solver='liblinear', tol=1e-12, max_iter=2000)
        model.fit(scaler.transform(segments.metrics), segments.is_true_ood)
        slope, intercept = classifier.calibration
        logit = model.decision_function(scaler.transform(segments.metrics))
        np.testing.assert_allclose(
            classifier.predict(segments.metrics), expit(slope * logit + intercept), atol=2e-6
        )
    chosen = bundle.provenance['meta_classifier']
    assert chosen['kind'] == 'logistic_regression'
    assert 'logistic_regression with entropy threshold' in report['chosen']


def test_report_holds_every_table_and_its_figures(fitted):
    tmp_path, report, _ = fitted
    text = (tmp_path / 'report' / 'report.md').read_text()
    for heading in (
        '## Detection errors',
        '## Meta classification (table 3',
        '## Components (SegmentMeIfYouCan)',
        '## Operating point and calibration',
        '## By segment size',
        '## What decides',
    ):
        assert heading in text
    assert 'FP counts the false segments that remain' in text
    for name in report['figures'].values():
        assert (tmp_path / 'report' / name).stat().st_size > 5000
        assert f']({name})' in text
    for scores in report['thresholds']:
        for kind in KINDS:
            ranking = scores[kind]['ranking']
            assert ranking['base_rate_true'] == pytest.approx(1 - ranking['base_rate_false'])
        assert scores['logistic_regression']['ranking']['auroc'] > 0.8
        assert scores['logistic_regression']['left_out']['logit_error'] < 1e-7
    assert report['explanation']['lars_order'][0] in ('entropy_mean', 'entropy_mean_boundary')
    assert report['explanation']['metric_subsets'][0]['count'] == 1


def test_errors_of_the_report_are_those_of_its_segments(fitted):
    _, report, folder = fitted
    segments = load_segment_set([folder], 0.5)
    without = report['thresholds'][0]['without_meta']
    assert without['false_positives'] == int((~segments.is_true_ood).sum())
    assert without['missed_objects'] == 0
    assert without['intervals']['errors']['low'] <= without['errors']
    assert without['errors'] <= without['intervals']['errors']['high']
    road = segments.road_px.sum() / segments.frame_road_px.sum()
    assert without['road_miss_rate'] == pytest.approx(road)


def test_boosted_trees_are_chosen_written_and_explained(make_segments, small_bundle, tmp_path):
    folder = make_segments(60, separation=3.0)
    words = [folder, '--classifier', 'gradient_boosting', '--only', '--threshold', '0.5', *QUICK]
    for name in ('one', 'other'):
        assert run(tmp_path, small_bundle, *words, '--output', tmp_path / name)[0] == 0
    files = [tmp_path / name / 'meta_classifier.safetensors' for name in ('one', 'other')]
    assert files[0].read_bytes() == files[1].read_bytes()
    bundle = load_bundle(tmp_path / 'one')
    (classifier,) = bundle.meta_classifiers
    assert (classifier.kind, len(classifier.model.roots)) == ('gradient_boosting', 5)
    assert bundle.provenance['meta_classifier']['kind'] == 'gradient_boosting'
    report = json.loads((tmp_path / 'report' / 'report.json').read_text())
    assert report['thresholds'][0]['gradient_boosting']['left_out'] is None
    assert report['thresholds'][0]['gradient_boosting']['ranking']['auroc'] > 0.8
    for one in report['explanation']['segments']:
        told = one['base'] + sum(value for _, value in one['contributions']) + one['others']
        assert told == pytest.approx(one['logit'])
    text = (tmp_path / 'report' / 'report.md').read_text()
    assert 'of the chosen boosted trees, which have no coefficients, they say nothing' in text
    assert '| GB, grouped, operating point |' in text


@pytest.mark.parametrize('kind', KINDS)
def test_served_predictions_equal_trained_ones_after_saving(make_segments, tmp_path, kind):
    from meta_ood_ros.core.files.meta_classifier_file import (
        load_meta_classifiers,
        save_meta_classifiers,
    )
    from meta_ood_training.meta.fitting.neural_meta import (
        predict_neural_network,
        train_neural_networks,
    )
    from meta_ood_training.meta.fitting.standardization import fit_standardization

    segments = load_segment_set([make_segments(40, seed=5)], 0.5)
    boosting = BoostingSettings(trees=(5,), leaves=(4,))
    settings = MetaFitSettings(neural=NeuralSettings(epochs=3), boosting=boosting, calibrate=False)
    fit = fit_meta_classifier(segments, kind, settings)
    save_meta_classifiers(tmp_path / 'meta.safetensors', [fit.classifier])
    (served,) = load_meta_classifiers(tmp_path / 'meta.safetensors')
    z = fit_standardization(segments.metrics).apply(segments.metrics)
    if kind == 'neural_network':
        layers = train_neural_networks([z], [segments.is_true_ood], settings.neural)[0]
        expected = expit(predict_neural_network(z, layers))
    elif kind == 'gradient_boosting':
        labels = segments.is_true_ood
        grown = grow_trees(segments.metrics, labels, fit.grouped.fold, settings=boosting)
        expected = expit(grown.logits(segments.metrics))
    else:
        weight, bias = fit.classifier.model.layers[0]
        expected = expit(z @ weight[0] + bias[0])
    np.testing.assert_allclose(served.predict(segments.metrics), expected, atol=1e-6)
    assert served.kind == kind


def test_meta_threshold_in_the_bundle_is_the_operating_point(make_segments):
    segments = load_segment_set([make_segments(40, seed=6, separation=1.0)], 0.5)
    fit = fit_meta_classifier(segments, 'logistic_regression', MetaFitSettings())
    slope, intercept = fit.classifier.calibration
    raw = (fit.classifier.predict(segments.metrics).astype(float)).clip(1e-7, 1 - 1e-7)
    logit = (np.log(raw / (1 - raw)) - intercept) / slope
    by_probability = fit.classifier.predict(segments.metrics) >= np.float32(fit.meta_threshold)
    far = np.abs(logit - fit.operating_point.logit) > 1e-3
    np.testing.assert_array_equal(by_probability[far], (logit >= fit.operating_point.logit)[far])


def test_a_meta_threshold_of_one_means_none_and_the_surest_pass_any_other(make_segments):
    segments = load_segment_set([make_segments(40, seed=6)], 0.5)
    fit = fit_meta_classifier(segments, 'logistic_regression', MetaFitSettings(calibrate=False))
    for logit, expected in ((25.0, True), (1e9, True), (np.inf, False)):
        moved = replace(fit, operating_point=replace(fit.operating_point, logit=logit))
        assert (moved.meta_threshold < 1.0) == expected
        surest = fit.classifier.predict(1e9 * np.sign(fit.classifier.model.layers[0][0]))
        assert (surest >= np.float32(moved.meta_threshold)).item() == expected
    lowest = replace(fit, operating_point=replace(fit.operating_point, logit=-np.inf))
    assert lowest.meta_threshold == 0.0


def test_the_cut_of_a_fold_does_not_follow_its_own_logits(make_segments):
    segments = load_segment_set([make_segments(40, seed=7, separation=1.0)], 0.5)
    settings = MetaFitSettings(folds=4)
    fit = fit_meta_classifier(segments, 'logistic_regression', settings)
    accepted, points = accept_across_folds(segments, fit, settings)
    assert len(points) == 4
    for fold, point in enumerate(points):
        rows = fit.grouped.fold == fold
        np.testing.assert_array_equal(accepted[rows], fit.grouped.logit[rows] >= point.logit)
    # a fold's own logits do not move its cut, only those of the others
    shifted = fit.grouped.logit + 100.0 * (fit.grouped.fold == 2)
    moved = replace(fit, grouped=replace(fit.grouped, logit=shifted))
    _, again = accept_across_folds(segments, moved, settings)
    assert again[2].logit == points[2].logit
    assert any(again[other].logit != points[other].logit for other in (0, 1, 3))


def test_true_segments_of_one_group_alone_fit_nothing(make_segments, small_bundle, tmp_path):
    segments = load_segment_set([make_segments(40, group=lambda i: f'block{i // 10}')], 0.5)
    alone = replace(segments, is_true_ood=segments.segment_frame < 10)
    with pytest.raises(ValueError, match='true and false segments in several groups, got 1 of '):
        fit_meta_classifier(alone, 'logistic_regression', MetaFitSettings())


def test_objects_that_only_unknown_segments_touch_are_not_missed(make_segments):
    segments = load_segment_set([make_segments(40)], 0.5)
    one = segments.overlap_segment[segments.overlap_object == 3]
    rows = np.zeros(len(segments), dtype=bool)
    rows[one] = True
    before = count_errors(segments)
    after = count_errors(segments.without_unknown(rows))
    assert after.objects == before.objects - 1
    assert after.missed_objects == before.missed_objects
    assert count_errors(segments.without(rows)).missed_objects == before.missed_objects + 1


def test_a_test_of_another_network_is_refused(make_segments, small_bundle, tmp_path, capsys):
    other = make_segments(40, network_sha256='0' * 64)
    words = [make_segments(40), '--only', '--test', other, *QUICK]
    status, _ = run(tmp_path, small_bundle, *words)
    assert status == 2
    assert 'must share network_sha256' in capsys.readouterr().err


def test_a_record_of_the_bundle_is_a_test_of_segments_before_it(
    make_segments, small_bundle, tmp_path, capsys
):
    """A new meta classifier gives the network a new model id, and a node records that one."""
    served = load_bundle(small_bundle).model_id
    record = make_segments(40, network_sha256=None, model_id=served, seed=3)
    fitted = make_segments(40, model_id='before@0')
    assert run(tmp_path, small_bundle, fitted, '--only', '--test', record, *QUICK)[0] == 0
    foreign = make_segments(40, network_sha256=None, model_id='foreign@0')
    assert run(tmp_path, small_bundle, fitted, '--only', '--test', foreign, *QUICK)[0] == 2
    assert "must share model_id, got 'before@0'" in capsys.readouterr().err


def test_a_bundle_of_another_grid_is_refused(make_segments, small_bundle, tmp_path, capsys):
    status, _ = run(tmp_path, small_bundle, make_segments(40, work_short_side=384), *QUICK)
    assert status == 2
    assert 'must share work_short_side, got 384 in the segments' in capsys.readouterr().err


def test_images_fitted_on_and_tested_are_noted(make_segments, small_bundle, tmp_path):
    folder = make_segments(40)
    status, report = run(tmp_path, small_bundle, folder, '--only', '--test', folder, *QUICK)
    assert status == 0
    assert any('40 of 40 test images have the name' in note for note in report['notes'])


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--rule', 'max_missed', '--bound', '5'], '--bound must be a share of objects'),
        (['--bound', '-1'], 'at least 0'),
        (['--split', 'typo'], r"split must be one of those in the segments .*got 'typo'"),
    ],
)
def test_values_without_meaning_are_refused(
    make_segments, small_bundle, tmp_path, capsys, words, message
):
    status, report = run(tmp_path, small_bundle, make_segments(40), *words, *QUICK)
    assert (status, report) == (2, None)
    assert re.search(message, capsys.readouterr().err)


def test_objects_of_two_grids_have_no_common_size(make_segments, small_bundle, tmp_path, capsys):
    test = make_segments(40, pixel_grid='received')
    words = [make_segments(40), '--min-object-px', '400', '--test', test, *QUICK]
    status, _ = run(tmp_path, small_bundle, *words)
    assert status == 2
    assert 'needs objects counted on one grid' in capsys.readouterr().err


def test_one_class_writes_errors_and_says_why_there_is_no_classifier(
    make_segments, small_bundle, tmp_path, capsys
):
    folder = make_segments(12, true_share=0.0)
    status, report = run(tmp_path, small_bundle, folder, '--output', tmp_path / 'out', *QUICK)
    assert status == 4
    assert not (tmp_path / 'out').exists()
    assert 'needs true and false segments, got 0 true' in capsys.readouterr().err
    assert any('no classifier, because' in note for note in report['notes'])
    assert report['thresholds'][0]['without_meta']['false_positives'] > 0
    assert (tmp_path / 'report' / 'errors.png').exists()


def test_no_segment_at_all(make_segments, small_bundle, tmp_path, capsys):
    folder = make_segments(12, true_share=0.0, false_rate=0.0)
    status, report = run(tmp_path, small_bundle, folder, *QUICK)
    assert status == 4
    assert 'needs segments, got none' in capsys.readouterr().err
    assert report['thresholds'][0]['segments'] == 0
    assert report['thresholds'][0]['without_meta']['f1'] is None


def test_constant_metrics_are_named_and_cannot_act(make_segments, small_bundle, tmp_path):
    def edit(metrics, _):
        metrics[:, 9] = 0.1

    folder = make_segments(40, edit=edit)
    status, report = run(
        tmp_path, small_bundle, folder, '--only', '--output', tmp_path / 'out', *QUICK
    )
    assert status == 0
    constant = report['thresholds'][0]['logistic_regression']['constant_metrics']
    assert constant == ['entropy_mean_relative_interior']
    classifier = load_bundle(tmp_path / 'out').meta_classifiers[0]
    segments = load_segment_set([folder], 0.5)
    changed = segments.metrics.copy()
    changed[:, 9] = 1e6
    np.testing.assert_array_equal(
        classifier.predict(changed), classifier.predict(segments.metrics)
    )


@pytest.mark.parametrize(
    ('name', 'value'),
    [('size', np.inf), ('entropy_variance', np.nan), ('variation_mean', np.nan)],
)
def test_nan_metrics_are_refused_or_left_out(
    make_segments, small_bundle, tmp_path, capsys, caplog, name, value
):
    def edit(metrics, is_true):
        metrics[np.flatnonzero(~is_true)[:1], metric_names(3).index(name)] = value

    folder = make_segments(40, edit=edit)
    status, report = run(tmp_path, small_bundle, folder, '--only', *QUICK)
    assert status == 4
    error = capsys.readouterr().err
    assert 'metrics must be finite' in error
    assert f'rows with NaN or infinity in columns {name}. ' in error
    assert '--drop-incomplete' in error
    status, report = run(tmp_path, small_bundle, folder, '--only', '--drop-incomplete', *QUICK)
    assert status == 0
    assert report['thresholds'][0]['segments_left_out_as_void'] > 20
    assert 'metrics that are not finite' in caplog.text


def test_segments_of_another_network_are_refused(make_segments, small_bundle, tmp_path, capsys):
    folder = make_segments(4, network_sha256='another')
    status, _ = run(tmp_path, small_bundle, folder, *QUICK)
    assert status == 2
    assert 'must come from one network, got segments of small@0' in capsys.readouterr().err


def test_recorded_segments_must_name_the_model(make_segments, small_bundle, tmp_path, capsys):
    status, _ = run(tmp_path, small_bundle, make_segments(4, network_sha256=None), *QUICK)
    assert status == 2
    model = load_bundle(small_bundle).model_id
    folder = make_segments(40, network_sha256=None, model_id=model)
    status, _ = run(tmp_path, small_bundle, folder, '--only', *QUICK)
    assert status == 0


def test_before_and_after_on_a_test_set(make_segments, small_bundle, tmp_path):
    def made(seed, **options):
        return make_segments(40, seed=seed, with_object=lambda i: i * seed % 5 < 2, **options)

    before = [made(seed, separation=0.5, false_rate=9.0) for seed in (1, 2)]
    after = [made(seed, separation=4.0) for seed in (1, 2)]
    status, report = run(
        tmp_path,
        small_bundle,
        after[0],
        '--test',
        after[1],
        '--baseline',
        before[0],
        '--baseline-test',
        before[1],
        '--test-part',
        '1',
        *QUICK,
    )
    assert status == 0
    stages = report['comparison']['stages']
    assert [one['title'] for one in stages] == [
        'before',
        'OoD training',
        'OoD training + neural_network',
        'OoD training + gradient_boosting',
        'OoD training + logistic_regression',
    ]
    alone = load_segment_set([after[1]], stages[1]['entropy_threshold'])
    assert stages[1]['false_positives'] == int((~alone.is_true_ood).sum())
    reduction = report['comparison']['reductions'][0]['errors']
    assert reduction['value'] == pytest.approx(1 - stages[-1]['errors'] / stages[0]['errors'])
    assert reduction['low'] <= reduction['value'] <= reduction['high']
    assert 'On the test: before and after' in (tmp_path / 'report' / 'report.md').read_text()
    assert [one['entropy_threshold'] for one in report['baseline']] == [0.5, 0.7]
    part = report['comparison_of_parts']['1']['stages'][1]
    few = np.array([name.startswith('made/1') for name in alone.frame_name])
    assert few.sum() == 11
    false = ~alone.is_true_ood & few[alone.segment_frame]
    assert part['false_positives'] == int(false.sum()) > 0
    assert part['objects'] == int(few[alone.object_frame].sum()) > 0


@pytest.mark.parametrize('options', [['--baseline-test'], ['--test-part']])
def test_options_that_would_do_nothing_are_refused(
    make_segments, small_bundle, tmp_path, capsys, options
):
    folder = make_segments(10)
    status, _ = run(tmp_path, small_bundle, folder, *options, folder, *QUICK)
    assert status == 2
    assert f'{options[0]} needs --test, got none' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (['--gap', '0.2', '--group-by', 'image'], '--gap must not be given with --group-by image'),
        (
            ['--leave-one-out-network', '--only'],
            '--leave-one-out-network must not be given with --only',
        ),
    ],
)
def test_options_of_which_one_would_do_nothing_are_refused(
    make_segments, small_bundle, tmp_path, capsys, options, said
):
    status, _ = run(tmp_path, small_bundle, make_segments(10), *options, *QUICK)
    assert status == 2
    assert said in capsys.readouterr().err


def test_part_of_the_test_that_no_image_is_in_is_refused(
    make_segments, small_bundle, tmp_path, capsys
):
    words = [make_segments(40), '--test', make_segments(20, seed=1), '--test-part', 'drive']
    status, _ = run(tmp_path, small_bundle, *words, '--only', *QUICK)
    assert status == 2
    assert "must begin the name of a test image, got 'drive'" in capsys.readouterr().err


def test_entropy_threshold_of_the_bundle_can_be_given(make_segments, small_bundle, tmp_path):
    folder = make_segments(40)
    words = [folder, '--only', '--output', tmp_path / 'out', *QUICK]
    assert run(tmp_path, small_bundle, *words, '--entropy-threshold', '0.7')[0] == 0
    assert load_bundle(tmp_path / 'out').entropy_threshold == 0.7


def test_where_segments_are_judged_and_published_is_stated(make_segments, small_bundle, tmp_path):
    words = [make_segments(40), '--only', '--output', tmp_path / 'out', *QUICK]
    words += ['--entropy-threshold', '0.5', '--overwrite']
    for core, told in (('0.8', 'their cores at 0.8'), ('0.5', 'as they were judged')):
        _, report = run(tmp_path, small_bundle, *words, '--core-threshold', core)
        assert report['chosen'].endswith(f'judged at 0.5, published: {told}')
        assert load_bundle(tmp_path / 'out').core_threshold == float(core)


def test_entropy_threshold_without_classifier_is_refused(
    make_segments, small_bundle, tmp_path, capsys
):
    status, _ = run(
        tmp_path, small_bundle, make_segments(40), '--only', '--entropy-threshold', '0.6', *QUICK
    )
    assert status == 2
    assert 'one that a classifier was fitted at, got 0.6' in capsys.readouterr().err


def test_every_segment_of_a_named_image_is_explained(make_segments, small_bundle, tmp_path):
    folder = make_segments(40)
    segments = load_segment_set([folder], 0.5)
    image = int(segments.segment_frame[3])
    status, report = run(
        tmp_path,
        small_bundle,
        folder,
        '--only',
        '--threshold',
        '0.5',
        '--explain',
        str(image),
        *QUICK,
    )
    assert status == 0
    explained = report['explanation']['segments']
    assert len(explained) == np.count_nonzero(segments.segment_frame == image)
    for one in explained:
        assert one['image'] == f'made/{image}'
        total = one['base'] + sum(value for _, value in one['contributions']) + one['others']
        assert total == pytest.approx(one['logit'], abs=1e-9)
        assert one['ood_probability'] == pytest.approx(expit(one['logit']), abs=1e-6)
        assert one['accepted'] == (one['ood_probability'] >= one['meta_threshold'])


def test_a_frame_of_the_test_is_explained(make_segments, small_bundle, tmp_path):
    test = make_segments(60, seed=1)  # images 40 to 59 are in the test alone
    segments = load_segment_set([test], 0.5)
    image = int(segments.segment_frame[segments.segment_frame >= 40][0])
    arguments = ['--only', '--threshold', '0.5', '--test', str(test), '--explain', str(image)]
    status, report = run(tmp_path, small_bundle, make_segments(40), *arguments, *QUICK)
    assert status == 0
    explained = report['explanation']['segments']
    assert [one['size_px'] for one in explained] == (
        segments.size_px[segments.segment_frame == image].tolist()
    )


def test_neighbouring_blocks_keep_a_gap(make_segments):
    segments = load_segment_set([make_segments(40, group=lambda i: f'drive_{i // 10}')], 0.5)
    fit = fit_meta_classifier(segments, 'logistic_regression', MetaFitSettings(gap=0.2))
    for fold, out in enumerate(fit.grouped.gap):
        block = segments.segment_frame // 10
        held_out = set(block[fit.grouped.fold == fold].tolist())
        kept_out = set(segments.segment_frame[out].tolist())
        assert kept_out
        for frame in kept_out:
            assert frame // 10 not in held_out
            near = frame // 10 + (1 if frame % 10 >= 8 else -1)
            assert frame % 10 in (0, 1, 8, 9)
            assert near in held_out
    assert (
        fit_meta_classifier(segments, 'logistic_regression', MetaFitSettings(gap=0.0)).grouped.gap
        is None
    )


def test_unknown_image_to_explain_is_refused(make_segments, small_bundle, tmp_path, capsys):
    status, _ = run(
        tmp_path, small_bundle, make_segments(40), '--only', '--explain', 'nowhere', *QUICK
    )
    assert status == 2
    assert "fitted on or of the test, got 'nowhere'" in capsys.readouterr().err


def test_subsampling_is_announced(make_segments, small_bundle, tmp_path):
    status, report = run(
        tmp_path, small_bundle, make_segments(80), '--only', '--max-segments', '150', *QUICK
    )
    assert status == 0
    assert any('images drawn at random' in note for note in report['notes'])


def test_grouped_folds_leak_less_than_segments_left_out(make_segments):
    # each block has its own signature and its own label: knowing the block is knowing the label
    signature = np.random.default_rng(0).standard_normal((10, 43)) * 3
    image = iter(range(10_000))

    def edit(metrics, is_true):
        block = next(image) // 4
        metrics += signature[block]

    folder = make_segments(
        40, thresholds=(0.5,), separation=0.0, true_share=0.5, false_rate=3.0, edit=edit
    )
    segments = load_segment_set([folder], 0.5)
    blocks = segments.segment_frame // 4
    relabelled = type(segments)(**{**vars(segments), 'is_true_ood': blocks % 2 == 0})
    scores = evaluate_threshold(relabelled, KINDS[:1], MetaFitSettings(folds=5)).scores
    left_out = scores['logistic_regression']['left_out']['ranking']['auroc']
    grouped = scores['logistic_regression']['ranking']['auroc']
    assert left_out > 0.9 > grouped + 0.2


def test_network_is_trained_once_for_each_segment_on_request(make_segments):
    segments = load_segment_set([make_segments(16, thresholds=(0.5,))], 0.5)
    settings = MetaFitSettings(neural=NeuralSettings(epochs=1), folds=3)
    scores = evaluate_threshold(
        segments, ('neural_network',), settings, neural_left_out=True
    ).scores['neural_network']
    assert scores['left_out']['segments_predicted'] == len(segments)


def test_each_domain_is_left_out_whole(make_segments):
    segments = load_segment_set([make_segments(60, separation=3.0)], 0.5)
    domains = np.array(['city', 'desert', 'forest'], dtype=object)
    frames = np.arange(len(segments.frame_name)) % 3
    segments = replace(segments, frame_split=domains[frames])
    fit = fit_meta_classifier(
        segments, 'logistic_regression', MetaFitSettings(group_by='split', folds=2, gap=0.2)
    )
    of_segment = frames[segments.segment_frame]
    assert len(np.unique(fit.grouped.fold)) == 3  # however few folds are wanted
    assert fit.grouped.gap is None
    for domain in range(3):
        rows = of_segment == domain
        assert len(np.unique(fit.grouped.fold[rows])) == 1
        scaler = StandardScaler().fit(segments.metrics[~rows])
        model = LogisticRegression(solver='liblinear', tol=1e-12, max_iter=2000)
        model.fit(scaler.transform(segments.metrics[~rows]), segments.is_true_ood[~rows])
        logit = model.decision_function(scaler.transform(segments.metrics[rows]))
        assert fit.grouped.logit[rows] == pytest.approx(logit, abs=2e-3)


@pytest.mark.parametrize('kind', KINDS)
def test_ignored_metrics_cannot_act(make_segments, kind):
    segments = load_segment_set([make_segments(40, separation=3.0)], 0.5)
    settings = MetaFitSettings(
        ignored_metrics=('centroid_*', 'size'), neural=NeuralSettings(epochs=3)
    )
    fit = fit_meta_classifier(segments, kind, settings)
    ignored = [
        segments.metric_names.index(name) for name in ('centroid_row', 'centroid_column', 'size')
    ]
    moved = segments.metrics.copy()
    moved[:, ignored] += 1000.0
    before = fit.classifier.predict(segments.metrics)
    assert fit.classifier.predict(moved) == pytest.approx(before, abs=1e-9)
    assert set(fit.constant_metrics) >= {'centroid_row', 'centroid_column', 'size'}
    again = fit_meta_classifier(replace(segments, metrics=moved), kind, settings)
    assert again.grouped.logit == pytest.approx(fit.grouped.logit, abs=1e-9)


@pytest.mark.parametrize(
    ('pattern', 'words'),
    [('centre_*', r"must name a segment metric, got 'centre_\*'"), ('*', 'must leave a metric')],
)
def test_ignored_metrics_must_be_some_of_them(make_segments, pattern, words):
    segments = load_segment_set([make_segments(20)], 0.5)
    with pytest.raises(ValueError, match=words):
        fit_meta_classifier(
            segments, 'logistic_regression', MetaFitSettings(ignored_metrics=(pattern,))
        )
