"""Each domain is judged by a classifier that was fitted on the others alone."""

import json

from meta_ood_ros.core.bundle_files import save_bundle
from meta_ood_training import extract_segments
import numpy as np
import pytest

from benchmarks.quality import leave_one_domain_out


@pytest.fixture
def domains(tiny_bundle, tmp_path, write_domain):
    """Return the command line of three domains with their segments."""
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


def test_one_domain_is_refused(domains, capsys):
    with pytest.raises(SystemExit):
        leave_one_domain_out.main(domains[:4])
    assert '--domain must be given at least twice, got 1' in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"must be NAME=SEGMENTS=IMAGES, got 'city'"):
        leave_one_domain_out.parse_domain('city')
