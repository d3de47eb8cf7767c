"""What fit-meta refuses before the first fit, and what it only notes in its report."""

import itertools
import json

from meta_ood_ros.core.segment_metrics import metric_names
from meta_ood_training.cli import main
from meta_ood_training.meta import fitted_bundle as fit_meta
import numpy as np
import pytest

QUICK = ['--only', '--metric-counts', '--epochs', '3']


@pytest.fixture
def run(small_bundle, tmp_path):
    """Return a function that runs the verb; it returns exit status and report, if any."""

    def run(*words):
        where = ['--bundle', small_bundle, '--report', tmp_path / 'report']
        status = main([str(one) for one in ['fit-meta', *QUICK, *words, *where]])
        path = tmp_path / 'report' / 'report.json'
        return status, json.loads(path.read_text()) if path.exists() else None

    return run


@pytest.fixture
def refuse(run, monkeypatch, capsys):
    """Return a function that asserts that the words are refused before anything is fitted."""

    def fitted(*_, **__):
        raise AssertionError('fitted before it was refused')

    def refuse(message, *words):
        monkeypatch.setattr(fit_meta, 'evaluate_threshold', fitted)
        assert run(*words) == (2, None)
        assert message in capsys.readouterr().err

    return refuse


@pytest.mark.parametrize(
    ('option', 'value', 'said'),
    [
        ('--epochs', '0', 'at least 1, got 0'),
        ('--trees', '0', 'numbers from 1 to 1000, got [0]'),
        ('--leaves', '64', 'numbers from 2 to 32, got [64]'),
        ('--folds', '1', 'at least 2, got 1'),
        ('--gap', '1.5', 'in [0, 1], got 1.5'),
        ('--core-threshold', '80', 'in [0, 1], got 80'),
        ('--max-segments', '0', 'at least 1, got 0'),
        ('--min-object-px', '-1', 'at least 0, got -1'),
        ('--seed', '-1', 'at least 0, got -1'),
        ('--strength', '0', 'positive and finite, got 0'),
        ('--strength', 'nan', 'positive and finite, got nan'),
    ],
)
def test_numbers_that_fit_nothing(refuse, make_segments, option, value, said):
    refuse(f'{option} must be {said}', make_segments(8), option, value)


def test_a_folder_that_is_no_bundle_is_not_written_over(refuse, make_segments, tmp_path):
    (tmp_path / 'pictures').mkdir()
    message = '--output must be a new directory or a bundle to replace, got '
    refuse(message, make_segments(8), '--output', tmp_path / 'pictures')


@pytest.mark.parametrize('option', ['--report', '--output'])
def test_a_place_where_nothing_can_be_written(
    make_segments, small_bundle, tmp_path, capsys, monkeypatch, option
):
    (tmp_path / 'file').write_text('in the way')
    monkeypatch.chdir(tmp_path)
    words = ['fit-meta', *QUICK, make_segments(8), '--bundle', small_bundle]
    assert main([str(one) for one in [*words, option, tmp_path / 'file' / 'new' / 'it']]) == 2
    assert f'{option} must be where a folder can be written, got ' in capsys.readouterr().err
    assert not list(tmp_path.rglob('report.json'))


def test_a_test_without_a_threshold_that_may_be_chosen(refuse, make_segments):
    test = make_segments(20, thresholds=(0.5,), seed=1)
    refuse(
        f'the segments in {test} were found at ([0.5]), got 0.7', make_segments(40), '--test', test
    )


def test_a_threshold_nobody_extracted(refuse, make_segments):
    refuse('([0.5, 0.7]), got 0.6', make_segments(40), '--threshold', '0.5', '0.6')


def test_a_test_with_metrics_that_are_not_finite(refuse, run, make_segments, monkeypatch):
    def edit(metrics, is_true):
        metrics[np.flatnonzero(~is_true)[:1], metric_names(3).index('variation_mean')] = np.nan

    words = [make_segments(40), '--test', make_segments(20, seed=1, edit=edit)]
    with monkeypatch.context():
        refuse('with NaN or infinity in variation_mean. Extract them again, or pass', *words)
    monkeypatch.undo()
    status, report = run(*words, '--drop-incomplete')
    assert status == 0
    assert report['comparison']['stages'][0]['segments_left_out'] > 10


@pytest.fixture
def compared(make_segments):
    """Return a function that gives the words of a comparison whose baseline test is changed."""

    def words(*, baseline=None, **changes):
        alike = {'with_object': lambda image: image % 3 == 0, 'separation': 3.0}
        before = make_segments(40, separation=1.0, seed=2, **(baseline or {}))
        before_test = {'images': 40, **alike, 'seed': 5, **(baseline or {}), **changes}
        return [
            *(make_segments(40), '--test', make_segments(40, seed=4, **alike)),
            *('--baseline', before, '--baseline-test', make_segments(**before_test)),
        ]

    return words


def test_a_baseline_test_alike_is_compared(run, compared):
    status, report = run(*compared())
    assert status == 0
    stages = report['comparison']['stages']
    assert [one['objects'] for one in stages] == [14] * 3
    assert [one['objects_left_out'] for one in stages] == [0] * 3


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({'images': 39}, 'must hold the same images, got 39 and 40 that differ, as in made/39'),
        ({'group': lambda image: f'block{image // 5}'}, 'must hold the same groups of images'),
        (
            {'with_object': lambda image: image % 3 == 1},
            'must hold the same objects, got 13',
        ),
    ],
)
def test_a_baseline_test_of_something_else(refuse, compared, changes, said):
    refuse(f'--baseline-test and --test {said}', *compared(**changes))


def test_a_baseline_of_another_grid(refuse, compared):
    words = compared(baseline={'work_short_side': 256})
    refuse('must share work_short_side, got 256 and 0', *words)


def test_a_baseline_whose_objects_are_counted_on_another_grid(refuse, compared):
    words = compared(baseline={'pixel_grid': 'received'})
    refuse('needs objects counted on one grid', *words, '--min-object-px', '400')


def test_a_baseline_without_the_split(refuse, make_segments):
    words = [make_segments(40), '--baseline', make_segments(1), '--split', 'fit']
    refuse("split must be one of those in the segments (select), got 'fit'", *words)


def test_an_image_to_explain_that_the_split_leaves_out_is_noted(run, make_segments):
    status, report = run(make_segments(40), '--split', 'fit', '--explain', 'made/2', 'made/3')
    assert status == 0
    assert {one['image'] for one in report['explanation']['segments']} <= {'made/3'}
    assert any('made/2 (--explain) has no segment at' in note for note in report['notes'])


def test_an_entropy_threshold_at_which_nothing_was_fitted_still_gives_a_report(
    run, make_segments, tmp_path, capsys
):
    calls = itertools.count()

    def edit(metrics, _):
        if next(calls) % 2:  # the second of two thresholds
            metrics[:1, 3] = np.nan

    words = [make_segments(40, edit=edit), '--entropy-threshold', '0.7']
    status, report = run(*words, '--output', tmp_path / 'bundle')
    assert status == 4
    assert not (tmp_path / 'bundle').exists()
    assert 'metrics must be finite' in capsys.readouterr().err
    assert any(note.startswith('No bundle, because segment metrics') for note in report['notes'])
    assert 'logistic_regression' in report['thresholds'][0]


def test_a_threshold_given_twice_is_one(run, make_segments, tmp_path):
    words = [make_segments(40), '--threshold', '0.7', '0.5', '0.7']
    status, report = run(*words, '--output', tmp_path / 'bundle')
    assert status == 0
    assert [one['entropy_threshold'] for one in report['thresholds']] == [0.5, 0.7]
