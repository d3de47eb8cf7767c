"""Operating points and errors that count what is published, not what is judged."""

from dataclasses import replace
import json
import shutil

from meta_ood_ros.core.bundle_files import load_bundle, save_bundle
from meta_ood_training.cli import main
from meta_ood_training.meta.checks import check_options
from meta_ood_training.meta.core_thresholds import cores_at, find_lacking
from meta_ood_training.meta.fitted_bundle import fit_meta
from meta_ood_training.meta.fitting.calibration import choose_operating_point
from meta_ood_training.meta.fitting.fit import fit_meta_classifier, MetaFitSettings
from meta_ood_training.meta.judging.decisions import decide, describe_errors
from meta_ood_training.meta.judging.group_intervals import bootstrap_rates, count_group_errors
from meta_ood_training.meta.judging.segment_errors import count_errors, measure_siou
from meta_ood_training.meta.options import FitMetaOptions
from meta_ood_training.segments.loading import load_segment_set
from meta_ood_training.segments.schemas import CORE_TABLES, SCHEMAS
from meta_ood_training.segments.segment_set import PublishedSegments
from meta_ood_training.segments.table import part_path, read_table, SIDECAR
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SHATTERED, WHOLE = 0.9, 0.95


def add_cores(folder, only=None):
    """
    Write what is published of the segments of a folder, at two core thresholds.

    At the first every segment has two cores, the second false and without an object; at the
    other what is published is the segment itself.
    """
    segments = read_table([folder], 'segments').to_pylist()
    overlaps = read_table([folder], 'overlaps').to_pylist()
    rows, pairs = [], []
    for core in only or (SHATTERED, WHOLE):
        number = {}
        for one in segments:
            key = one['frame'], one['entropy_threshold']
            for second in range(2 if core == SHATTERED else 1):
                number[key] = number.get(key, 0) + 1
                part = {name: one[name] for name in SCHEMAS['published'].names if name in one}
                part |= {'core_threshold': core, 'published': number[key]}
                rows.append(part | ({'is_true_ood': False, 'ood_px': 0} if second else {}))
                pairs += [
                    {**pair, 'core_threshold': core, 'published': number[key]}
                    for pair in overlaps
                    if not second
                    and (pair['frame'], pair['entropy_threshold']) == key
                    and pair['segment'] == one['segment']
                ]
    for table, values in zip(CORE_TABLES, (rows, pairs), strict=True):
        schema = SCHEMAS[table]
        columns = {name: [one[name] for one in values] for name in schema.names}
        pq.write_table(pa.table(columns, schema=schema), part_path(folder, table, 0, 1))
    sidecar = json.loads((folder / SIDECAR).read_text())
    sidecar['core_thresholds'] = list(only or (SHATTERED, WHOLE))
    (folder / SIDECAR).write_text(json.dumps(sidecar))
    return folder


@pytest.fixture(scope='module')
def folder(make_segments):
    return add_cores(make_segments(60, separation=1.5, true_share=0.6))


@pytest.fixture(scope='module')
def segments(folder):
    return load_segment_set([folder], 0.5, core_thresholds=(SHATTERED, WHOLE))


def draw_parts(rng, segments):
    """Return parts of random segments, true and on their objects by chance."""
    parent = np.sort(rng.integers(0, len(segments), 2 * len(segments)))
    parts = segments.of_frames(np.ones(len(segments.frame_name), bool))
    row, other = [], []
    for part, one in enumerate(parent):
        for on in segments.overlap_object[segments.overlap_segment == one]:
            if rng.random() < 0.5:
                row.append(part)
                other.append(on)
    true = np.zeros(len(parent), bool)
    true[row] = True
    columns = ('adjusted_iou', 'segment_frame', 'segment_number', 'size_px', 'valid_px',
               'road_px', 'in_distribution_px')  # fmt: skip
    return PublishedSegments(
        0.9,
        replace(
            parts,
            published=(),
            metric_names=(),
            metrics=np.zeros((len(parent), 0)),
            is_true_ood=true,
            **{name: getattr(segments, name)[parent] for name in columns},
            overlap_segment=np.array(row, np.int64),
            overlap_object=np.array(other, np.int64),
            overlap_px=np.full(len(row), 5),
        ),
        parent,
    )


def every_cut(segments, published, logit, frames):
    """Yield every distinct cut with the errors of what is published, counted the slow way."""
    values = np.unique(logit[frames[segments.segment_frame]])
    for cut in [-np.inf, *((values[1:] + values[:-1]) / 2)]:
        false, hit = 0, set()
        for part, one in enumerate(published.parent):
            if logit[one] >= cut and frames[segments.segment_frame[one]]:
                on = published.segments.overlap_object[published.segments.overlap_segment == part]
                false += not len(on)
                hit |= set(on.tolist())
        objects = np.count_nonzero(frames[segments.object_frame])
        yield cut, false, objects - len(hit), objects


@pytest.mark.parametrize('seed', range(6))
def test_the_operating_point_counts_parts_as_a_loop_over_cuts_does(segments, seed):
    rng = np.random.default_rng(seed)
    few = segments.of_frames(np.isin(np.arange(60), rng.choice(60, 14, replace=False)))
    published = draw_parts(rng, few)
    logit = np.round(rng.normal(size=len(few)), 1)  # ties, too
    frames = rng.random(14) < 0.8
    cuts = list(every_cut(few, published, logit, frames))
    images = np.count_nonzero(frames)
    chosen = {
        (rule, bound): choose_operating_point(
            few, logit, rule=rule, bound=bound, frames=frames, published=published
        )
        for rule, bound in (('max_f1', 0.0), ('max_false', 0.8), ('max_missed', 0.3))
    }
    best = max(2 * (n - fn) / (2 * (n - fn) + fp + fn) for _, fp, fn, n in cuts)
    assert chosen['max_f1', 0.0].f1 == pytest.approx(best)
    few_false = [one for one in cuts if one[1] <= 0.8 * images]
    if few_false:
        point = chosen['max_false', 0.8]
        assert (point.logit, point.false_positives, point.missed_objects) == few_false[0][:3]
    else:
        assert chosen['max_false', 0.8].logit == np.inf
    never, objects = cuts[0][2:]
    last = [one for one in cuts if one[2] - never <= 0.3 * (objects - never)][-1]
    point = chosen['max_missed', 0.3]
    assert (point.logit, point.false_positives, point.missed_objects) == last[:3]


def test_where_segments_are_published_whole_nothing_changes(segments):
    fit = fit_meta_classifier(segments, 'logistic_regression')
    settings = MetaFitSettings(rule='max_false', bound=0.3)
    whole = decide(segments, fit, settings, segments.published[1])
    judged = decide(segments, fit, settings)
    np.testing.assert_array_equal(whole.accepted, judged.accepted)
    assert whole.points == judged.points
    left, right = (json.dumps(one.errors) for one in (whole, judged))
    assert left == right


def test_rates_are_those_of_all_images_and_their_intervals_of_groups(segments):
    accepted = segments.metrics[:, 5] > 0.5
    rates = bootstrap_rates(segments, accepted)
    errors = describe_errors(segments, accepted)
    for name, rate in rates.items():
        assert rate.value == pytest.approx(errors[name])
        assert rate.low < rate.value < rate.high
    # the same draws of groups as those of the counts: 60 images in 15 groups of four
    bound = errors['intervals']['false_positives']
    assert rates['false_segments_per_image'].low == pytest.approx(bound['low'] / 60)
    assert rates['false_segments_per_image'].high == pytest.approx(bound['high'] / 60)
    assert len(count_group_errors(segments, accepted).groups) == 15


def run(tmp_path, small_bundle, *words, report='report'):
    """Run the verb; return its exit status, its report as numbers and as text."""
    words = ['fit-meta', *words, '--bundle', small_bundle, '--report', tmp_path / report]
    status = main([*map(str, words), '--only', '--metric-counts'])
    path = tmp_path / report
    numbers = json.loads((path / 'report.json').read_text()) if status == 0 else None
    return status, numbers, (path / 'report.md').read_text() if status == 0 else ''


def test_one_core_threshold_bounds_what_is_published(folder, small_bundle, tmp_path, capsys):
    words = [folder, '--rule', 'max_false', '--bound', '0.5', '--output', tmp_path / 'out']
    words += ['--entropy-threshold', '0.5', '--core-threshold', str(SHATTERED)]
    status, report, text = run(tmp_path, small_bundle, *words)
    assert status == 0
    assert f'published at {SHATTERED}: ' in capsys.readouterr().out
    bundle = load_bundle(tmp_path / 'out')
    segments = load_segment_set([folder], 0.5, core_thresholds=[SHATTERED])
    (published,) = segments.published
    fit = fit_meta_classifier(
        segments, 'logistic_regression', MetaFitSettings(rule='max_false', bound=0.5)
    )
    point = choose_operating_point(
        segments, fit.grouped.logit, rule='max_false', bound=0.5, published=published
    )
    assert bundle.core_threshold == SHATTERED
    assert bundle.meta_threshold == replace(fit, operating_point=point).meta_threshold
    # each false segment is published twice, each true one with a false core beside it
    kept = fit.grouped.logit >= point.logit
    false = 2 * np.count_nonzero(kept) - np.count_nonzero(kept & segments.is_true_ood)
    assert 0.4 * 60 < false <= 0.5 * 60
    assert point.logit > fit.operating_point.logit
    scores = report['thresholds'][0]['logistic_regression']
    (row,) = scores['published']
    assert scores['core_threshold'] == row['core_threshold'] == SHATTERED
    assert row['meta_threshold'] == scores['meta_threshold'] == bundle.meta_threshold
    judged = scores['at_operating_point']
    accepted = row['false_positives'] - judged['false_positives']
    assert accepted == judged['false_positives'] + judged['objects'] - judged['missed_objects']
    stated = bundle.provenance['meta_classifier']['out_of_fold']['published']
    assert stated['false_segments'] == row['false_positives']
    assert '## As published' in text
    assert '| 0.5 | 0.9 | LR |' in text
    assert report['chosen'].endswith('judged at 0.5, published: their cores at 0.9')
    assert not any('count judged segments' in note for note in report['notes'])


def test_the_pair_whose_published_segments_find_most_is_chosen(folder, small_bundle, tmp_path):
    words = [folder, '--rule', 'max_false', '--bound', '0.5', '--output', tmp_path / 'out']
    words += ['--choose', 'siou', '--core-threshold', '0', str(SHATTERED), str(WHOLE)]
    status, report, _ = run(tmp_path, small_bundle, *words)
    assert status == 0
    found = {}
    for scores in report['thresholds']:
        rows = scores['logistic_regression']['published']
        assert [one['core_threshold'] for one in rows] == [0.0, SHATTERED, WHOLE]
        for row in rows:
            pair = scores['entropy_threshold'], row['core_threshold']
            found[pair] = row['objects_with_siou_25'], row['meta_threshold']
    bundle = load_bundle(tmp_path / 'out')
    best = max(one for one, _ in found.values())
    pair = bundle.entropy_threshold, bundle.core_threshold
    assert found[pair] == (best, bundle.meta_threshold)
    # published whole is as judged, and ties go to the lower core threshold
    assert bundle.core_threshold == 0.0
    assert found[pair] == found[bundle.entropy_threshold, WHOLE]
    assert found[pair][0] > found[bundle.entropy_threshold, SHATTERED][0]


def test_the_report_counts_what_its_own_acceptance_publishes(segments):
    fit = fit_meta_classifier(segments, 'logistic_regression')
    shattered = segments.published[0]
    decision = decide(segments, fit, MetaFitSettings(rule='max_false', bound=0.5), shattered)
    accepted = decision.accepted[shattered.parent]
    errors = count_errors(shattered.segments, accepted)
    assert decision.errors['false_positives'] == errors.false_positives
    assert decision.errors['missed_objects'] == errors.missed_objects
    siou = measure_siou(shattered.segments, accepted)
    assert decision.errors['objects_with_siou_25'] == np.mean(siou >= 0.25)


def test_cores_that_the_folder_lacks_are_written_with_a_note(
    make_segments, small_bundle, tmp_path, capsys
):
    old = make_segments(40, separation=3.0)
    words = [old, '--output', tmp_path / 'out', '--core-threshold', '0.8']
    status, report, text = run(tmp_path, small_bundle, *words)
    assert status == 0
    assert load_bundle(tmp_path / 'out').core_threshold == 0.8
    (note,) = (one for one in report['notes'] if 'count judged segments' in one)
    assert f'{old} hold no such cores. Extract the segments with --core-threshold 0.8' in note
    assert note in text
    assert '## As published' not in text
    capsys.readouterr()
    several = [*words, '0.9', '--overwrite']
    assert run(tmp_path, small_bundle, *several)[0] == 2
    assert 'core_threshold must be one at which the segments in' in capsys.readouterr().err


def test_a_folder_of_before_gives_the_bundle_that_it_gave(make_segments, small_bundle, tmp_path):
    new = make_segments(40, separation=3.0)
    old = tmp_path / 'same'
    shutil.copytree(new, old)
    for table in CORE_TABLES:
        part_path(old, table, 0, 1).unlink()
    cored = tmp_path / 'cored'
    add_cores(shutil.copytree(new, cored))
    written = []
    for place in (new, old, cored):
        out = tmp_path / f'bundle_{place.name}'
        fit_meta(
            place, bundle=small_bundle, only=True, metric_counts=(), output=out, command='fit',
            report=tmp_path / 'report',
        )  # fmt: skip
        written.append({one.name: one.read_bytes() for one in out.iterdir()})
    assert written[0] == written[1] == written[2]


def test_the_bundles_own_core_threshold_counts_where_none_is_named(folder, small_bundle, tmp_path):
    save_bundle(replace(load_bundle(small_bundle), core_threshold=SHATTERED), tmp_path / 'cored')
    options = {'only': True, 'metric_counts': (), 'thresholds': 0.5, 'rule': 'max_false',
               'bound': 0.5, 'report': tmp_path / 'report'}  # fmt: skip
    own = fit_meta(folder, bundle=tmp_path / 'cored', **options).bundle
    named = fit_meta(folder, bundle=small_bundle, core_threshold=SHATTERED, **options).bundle
    assert own.core_threshold == named.core_threshold == SHATTERED
    assert own.meta_threshold == named.meta_threshold


def test_the_test_shows_what_is_published(folder, make_segments, small_bundle, tmp_path):
    test = add_cores(make_segments(40, separation=1.5, seed=3), only=(SHATTERED,))
    words = [folder, '--test', test, '--threshold', '0.5', '--core-threshold', str(SHATTERED)]
    words += ['--explain', '7', '--min-object-px', '1']
    status, report, _ = run(tmp_path, small_bundle, *words)
    assert status == 0
    *_, judged, published = report['comparison']['stages']
    assert published['title'] == f'{judged["title"]}, cores at 0.9 as published'
    assert published['missed_objects'] == judged['missed_objects']
    accepted = judged['false_positives'] + judged['objects'] - judged['missed_objects']
    assert published['false_positives'] == judged['false_positives'] + accepted
    assert not any('judged segments, not' in note for note in report['notes'])
    words[words.index(test)] = bare = make_segments(40, separation=1.5, seed=3)
    _, report, _ = run(tmp_path, small_bundle, *words)
    assert report['comparison']['stages'][-1] == judged
    (note,) = (one for one in report['notes'] if 'judged segments, not' in one)
    assert note.startswith(
        f'The test counts judged segments, not what is published of them at '
        f'--core-threshold 0.9: {bare} hold'
    )


def test_which_cores_are_cut_at_a_threshold(folder, make_segments):
    assert cores_at((0.8, 0.95), 0.5) == (0.8, 0.95)
    assert cores_at((0.0, 0.8, 0.95), 0.8) == (0.0, 0.95)
    assert cores_at((0.6, 0.8), 0.9) == (0.0,)
    assert cores_at((), 0.5) == ()
    bare = make_segments(4)
    assert find_lacking([folder, bare], [SHATTERED], [0.5, 0.7]) == [bare]
    assert find_lacking([folder, bare], [0.4], [0.5, 0.7]) == []
    assert find_lacking([folder], [0.8], [0.7]) == [folder]


def test_core_thresholds_outside_of_zero_to_one_are_refused():
    assert FitMetaOptions(core_threshold=None).core_threshold == ()
    assert FitMetaOptions(core_threshold=0.9).core_threshold == (0.9,)
    with pytest.raises(ValueError, match=r'--core-threshold must be in \[0, 1\], got 80\.'):
        check_options(FitMetaOptions(core_threshold=(0.8, 80)))
