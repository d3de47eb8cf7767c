"""Metrics whose worth in each domain is drawn: one that travels, one that turns, one of noise."""

import json

from meta_ood_ros.core.bundle_files import save_bundle
from meta_ood_training import extract_segments
import numpy as np
import pytest

from benchmarks.quality import travelling_metrics
from benchmarks.quality.travelling_metrics import (
    find_opposites,
    find_travellers,
    judge_metrics,
    order_by_difference,
)

NAMES = ('travels', 'turns', 'noise')


@pytest.fixture
def domains():
    """Return two domains, in the second of which the second metric speaks the other way."""
    found = []
    for name, sign, seed in (('city', 1.0, 1), ('desert', -1.0, 2)):
        rng = np.random.default_rng(seed)
        true = rng.random(2000) < 0.3
        metrics = rng.normal(size=(2000, 3))
        metrics[:, 0] += 3 * true
        metrics[:, 1] += sign * 2 * true
        found.append(judge_metrics(name, NAMES, metrics, true, first=2))
    return found


def test_what_travels_and_what_turns_is_told_apart(domains):
    assert find_travellers(domains) == ['travels']
    assert find_opposites(domains) == ['turns']
    assert order_by_difference(domains)[0] == 'turns'
    for one in domains:
        assert one.lars == ('travels', 'turns')
        # two normal distributions, d standard deviations apart: the normal CDF of d / sqrt(2)
        assert one.auroc['travels'] == pytest.approx(0.983, abs=0.01)
        assert one.auroc['noise'] == pytest.approx(0.5, abs=0.05)
    assert domains[0].auroc['turns'] == pytest.approx(0.921, abs=0.02)
    assert domains[1].auroc['turns'] == pytest.approx(1 - 0.921, abs=0.02)


def test_one_kind_of_segments_alone_is_refused():
    with pytest.raises(ValueError, match=r'domain city must have true and false .* got 5 true of'):
        judge_metrics('city', NAMES, np.zeros((5, 3)), np.ones(5, bool), first=2)


def test_the_command_says_it_of_folders(tiny_bundle, tmp_path, capsys, write_domain):
    save_bundle(tiny_bundle, tmp_path / 'network')
    words = ['--bundle', str(tmp_path / 'network'), '--entropy-threshold', '0.5']
    for seed, name in enumerate(('city', 'desert')):
        write_domain(tmp_path / name, seed)
        extract_segments(
            tmp_path / f'{name}_segments',
            data=f'{name}:folder={tmp_path / name}',
            bundle=tmp_path / 'network',
            thresholds=(0.5,),
        )
        words += ['--domain', f'{name}={tmp_path / name}_segments']
    output = tmp_path / 'facts.json'
    travelling_metrics.main([*words, '--first', '3', '--output', str(output)])
    shown, facts = capsys.readouterr().out, json.loads(output.read_text())
    assert [one['name'] for one in facts['domains']] == ['city', 'desert']
    assert len(facts['domains'][0]['lars']) == 3
    assert len(facts['differs']) == len(facts['domains'][0]['auroc'])
    assert f'{len(facts["travels"])} of {len(facts["differs"])} metrics say the same' in shown
    with pytest.raises(SystemExit):
        travelling_metrics.main([*words, '--domain', 'city'])
    assert "--domain must be NAME=SEGMENTS, got 'city'" in capsys.readouterr().err
