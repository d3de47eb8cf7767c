"""Each domain is judged by a classifier that was fitted on the others alone."""

import json
from types import SimpleNamespace

from meta_ood_ros.core.bundle_files import save_bundle
from meta_ood_training import extract_segments
import numpy as np
import pytest

from benchmarks.quality import leave_one_domain_out


@pytest.fixture
def domains(tiny_bundle, tmp_path, write_domain, request):
    """Return the command line of three domains with their segments, with cores if asked for."""
    save_bundle(tiny_bundle, tmp_path / 'network')
    words = ['--bundle', str(tmp_path / 'network')]
    for seed, name in enumerate(('city', 'desert', 'forest')):
        images, segments = tmp_path / name, tmp_path / f'{name}_segments'
        write_domain(images, seed)
        extract_segments(
            segments,
            data=f'{name}:folder={images}',
            bundle=tmp_path / 'network',
            thresholds=(0.5,),
            core_thresholds=getattr(request, 'param', ()),
            split=name,
        )
        words += ['--domain', f'{name}={segments}={images}']
    return words


def test_every_domain_is_left_out_once_and_the_mean_is_theirs(domains, tmp_path, capsys):
    output = tmp_path / 'rows.json'
    kinds = ['logistic_regression', 'gradient_boosting']
    leave_one_domain_out.main([
        *domains, '--core-threshold', '0', '0.9', '--bound', '2', '--output', str(output),
        '--classifier', *kinds,
    ])  # fmt: skip
    rows = json.loads(output.read_text())['rows']
    assert [row['left_out'] for row in rows] == ['city', 'desert', 'forest', 'mean'] * 4
    assert [row['classifier'] for row in rows[::8]] == kinds
    for kind, decision in {(row['classifier'], row['decision']) for row in rows}:
        *each, mean = (
            row for row in rows if (row['classifier'], row['decision']) == (kind, decision)
        )
        assert all(row['images'] == 6 and row['objects'] == 3 for row in each)
        for key in ('found', 'touched', 'false_a_frame'):
            assert mean[key] == pytest.approx(np.mean([row[key] for row in each]))
    assert capsys.readouterr().out.count('| mean |') == 4


@pytest.mark.parametrize('domains', [(), (0.9,)], indirect=True)
def test_the_bound_counts_published_segments_where_they_are_there(
    domains, tmp_path, monkeypatch, capsys, request
):
    held = bool(request.node.callspec.params['domains'])
    fits, decided = [], []
    fit, judge = leave_one_domain_out.fit_meta, leave_one_domain_out.evaluate_segments

    def note_fit(*folders, **options):
        fits.append(fit(*folders, **options))
        return fits[-1]

    def note_decisions(*data, decisions, **options):
        decided.append(decisions)
        return judge(*data, decisions=decisions, **options)

    monkeypatch.setattr(leave_one_domain_out, 'fit_meta', note_fit)
    monkeypatch.setattr(leave_one_domain_out, 'evaluate_segments', note_decisions)
    words = [*domains[:6], '--core-threshold', '0', '0.9', '--bound', '2']  # two of them
    leave_one_domain_out.main(words)
    assert ('--bound counts judged segments: no such cores in' in capsys.readouterr().out) != held
    for fitted, decisions in zip(fits, decided, strict=True):
        (scores,) = fitted.report['thresholds']
        own = [one['meta_threshold'] for one in scores['logistic_regression']['published']]
        assert len(own) == 2 * held
        expected = own or [fitted.bundle.meta_threshold] * 2
        assert decisions == [
            f'core 0=0.5:{expected[0]!r}:0', f'core 0.9=0.5:{expected[1]!r}:0.9',
        ]  # fmt: skip


def test_each_core_threshold_has_its_own_meta_threshold():
    published = [
        {'core_threshold': 0.0, 'meta_threshold': 0.3},
        {'core_threshold': 0.9, 'meta_threshold': 0.6},
    ]
    scores = {'published': published, 'meta_threshold': 0.6}
    fitted = SimpleNamespace(report={'thresholds': [{'gradient_boosting': scores}]})
    found = leave_one_domain_out.find_meta_thresholds(fitted, 'gradient_boosting', (0.9, 0.5, 0))
    assert found == [0.6, 0.3, 0.3]
    scores['published'] = []  # of folders without cores: the one that counts judged segments
    found = leave_one_domain_out.find_meta_thresholds(fitted, 'gradient_boosting', (0.9, 0))
    assert found == [0.6, 0.6]


def test_one_domain_is_refused(domains, capsys):
    with pytest.raises(SystemExit):
        leave_one_domain_out.main(domains[:4])
    assert '--domain must be given at least twice, got 1' in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"must be NAME=SEGMENTS=IMAGES, got 'city'"):
        leave_one_domain_out.parse_domain('city')
