"""The benchmarks run, their baselines are right and their ratios are what they say."""

from dataclasses import replace
import json

from meta_ood_ros.core.dense import predict_dense
from meta_ood_ros.core.segment_metrics import measure_segments
from meta_ood_ros.core.segments import find_segments
import numpy as np
import pytest
import torch

from benchmarks import __main__ as runner
from benchmarks.figures.comparison import (
    compare_times,
    Comparison,
    find_quartiles,
    Options,
    time_in_turns,
    Times,
)
from benchmarks.figures.registry import load_figures, MODULES
from benchmarks.figures.report import draw, format_row
from benchmarks.segments.naive import (
    measure_in_a_loop,
    predict_dense_naively,
    upsample_probabilities,
)
from benchmarks.segments.synthetic import make_scene, THRESHOLD

TINY = ['--rounds', '2', '--image-size', '64', '128', '--segments', '4']


@pytest.fixture(scope='module')
def scene():
    return make_scene((32, 64), (128, 256), segments=8, share=0.1)


def test_runner_writes_what_it_measured(tmp_path, capsys):
    names = ['post_processing', 'metrics_of_segments', 'growth']
    assert runner.main([*TINY, '--only', *names, '--results', str(tmp_path)]) == 0
    record = json.loads((tmp_path / 'benchmarks.json').read_text())
    assert list(record['figures']) == names
    assert record['machine']['cores'] >= 1
    rows = [row for figure in record['figures'].values() for row in figure['rows']]
    assert len(rows) == 6 + 2 + 9
    for row in rows:
        assert row['ratio'] > 0
        assert row['ratio_quartiles'][0] <= row['ratio'] <= row['ratio_quartiles'][1]
        assert len(row['subject_values']) == len(row['baseline_values']) == 2
        assert row['subject'] != row['baseline']
    assert (tmp_path / 'benchmarks.png').stat().st_size > 10_000
    assert 'predict_dense' in capsys.readouterr().out


def test_a_figure_that_fails_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    from benchmarks.segments import growth, post_processing

    def fail(options):
        raise RuntimeError('no network')

    monkeypatch.setattr(post_processing, 'measure', fail)
    monkeypatch.setattr(growth, 'measure', lambda options: [])
    arguments = [*TINY, '--only', 'post_processing', 'growth', '--results', str(tmp_path)]
    assert runner.main(arguments) == 1
    printed = capsys.readouterr()
    assert 'failed: RuntimeError: no network' in printed.err
    assert 'not measured' in printed.out
    assert list(json.loads((tmp_path / 'benchmarks.json').read_text())['figures']) == ['growth']


def test_every_figure_is_listed(capsys):
    assert runner.main(['--list']) == 0
    printed = capsys.readouterr().out
    assert all(module.rpartition('.')[2] in printed for module in MODULES)


def test_instructions_are_not_counted_without_valgrind(monkeypatch, capsys):
    from benchmarks.segments import instructions

    monkeypatch.setattr(instructions.shutil, 'which', lambda name: None)
    assert instructions.measure(Options()) == []
    assert 'apt install valgrind' in capsys.readouterr().out


def test_unknown_figures_are_refused(capsys):
    with pytest.raises(ValueError, match="there is no figure 'speed'. The figures are: post_proc"):
        load_figures(('speed',))
    with pytest.raises(SystemExit):
        runner.main(['--only', 'speed'])
    assert "there is no figure 'speed'" in capsys.readouterr().err


def test_ratios_by_hand():
    speed_up = Comparison('', 'a', 'b', [1.0, 2.0, 4.0], [10.0, 12.0, 12.0], target=6.0)
    assert speed_up.ratios == [10.0, 6.0, 3.0]
    assert speed_up.ratio == 6.0
    assert speed_up.met
    cost = Comparison('', 'a', 'b', [3.0], [2.0], kind='cost', target=1.4)
    assert cost.ratio == 1.5
    assert not cost.met
    assert Comparison('', 'a', 'b', [3.0], [2.0]).met is None
    assert find_quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 4.0)
    assert find_quartiles([7.0]) == (7.0, 7.0)


def test_differences_by_hand(tmp_path):
    more = Comparison(
        '', 'a', 'b', [300.0, 310.0, 330.0], [100.0, 100.0, 100.0], 'MB', 'difference', 215.0
    )
    assert more.outcomes == [200.0, 210.0, 230.0]
    assert more.outcome == 210.0
    assert more.ratio == 3.1
    assert more.met
    assert not replace(more, target=205.0).met
    record = more.to_record()
    assert record['outcome'] == 210.0
    assert record['outcome_quartiles'] == (205.0, 220.0)
    assert '  210.00 MB more [205.00 .. 220.00] (target <= 215: met)' in format_row(more)
    less = replace(more, baseline_values=[400.0, 310.0, 330.0])  # no logarithm of these
    draw({'memory': [more, less]}, {'memory': 'Memory'}, tmp_path / 'drawn.png')
    assert (tmp_path / 'drawn.png').stat().st_size > 5_000


def test_the_outcome_of_other_kinds_is_their_ratio():
    cost = Comparison('', 'a', 'b', [3.0], [2.0], kind='cost')
    assert cost.outcomes == cost.ratios == [1.5]
    assert '1.50 x [' in format_row(cost)


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="kind must be one of speed-up, .*, got 'speedup'"):
        Comparison('', 'a', 'b', [3.0], [2.0], kind='speedup')


def test_processor_time_stands_beside_the_wall_time():
    times = Times([1.0], [2.0]), Times([4.0], [6.0])
    assert compare_times('', 'a', 'b', times).cpu_ratio == 3.0
    assert compare_times('', 'a', 'b', times, kind='cost').cpu_ratio == pytest.approx(1 / 3)


def test_runs_take_turns():
    order = []
    runs = {name: (lambda name=name: order.append(name)) for name in 'ab'}
    times = time_in_turns(runs, 3)
    assert ''.join(order) == 'abababab'
    assert len(times['a'].wall) == len(times['b'].cpu) == 3


def test_what_comes_before_a_run_is_done_each_time_and_not_timed():
    order = []
    runs = {name: (lambda name=name: order.append(name)) for name in 'ab'}
    before = {name: (lambda name=name: order.append(name.upper())) for name in 'ab'}
    times = time_in_turns(runs, 2, before=before)
    assert ''.join(order) == 'ab' + 2 * 'AaBb'
    assert len(times['a'].wall) == len(times['b'].cpu) == 2


def test_written_logits_are_the_same(scene):
    kept = scene.logits.clone()
    scene.write_logits()
    assert torch.equal(scene.logits, kept)


@pytest.mark.parametrize(('segments', 'share'), [(8, 0.05), (20, 0.2), (6, 0.3)])
def test_scenes_have_the_segments_and_pixels_that_they_say(segments, share):
    scene = make_scene((64, 128), (256, 512), segments=segments, share=share)
    assert abs(scene.segments - segments) <= 1
    assert scene.share == pytest.approx(share, rel=0.1)


def test_naive_dense_prediction_is_the_same(scene):
    dense = predict_dense(scene.logits, scene.size)
    semantic, entropy, max_probability = predict_dense_naively(scene.logits, scene.size)
    np.testing.assert_allclose(dense.entropy, entropy, atol=1e-5)
    np.testing.assert_allclose(dense.max_probability, max_probability, atol=1e-5)
    assert (dense.semantic == semantic).mean() > 0.999


def test_the_loop_over_segments_gives_the_same_metrics(scene):
    probabilities = upsample_probabilities(scene.logits, scene.size)
    entropy = predict_dense(scene.logits, scene.size).entropy
    segments = find_segments(entropy >= THRESHOLD)
    expected = measure_segments(probabilities, segments).values
    loop = measure_in_a_loop(probabilities, segments.labels, segments.count)
    np.testing.assert_allclose(loop, expected, rtol=1e-4, atol=1e-5)


def test_found_objects_are_counted_with_an_interval(tiny_bundle, tmp_path, capsys):
    from meta_ood_ros.core.bundle_files import save_bundle

    from benchmarks.quality import found_objects

    save_bundle(tiny_bundle, tmp_path / 'bundle')
    words = ['--bundle', str(tmp_path / 'bundle'), '--scenes', '2']
    found_objects.main(words)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith('seeds 60000 to 60001')
    assert lines[1].startswith('of 400 px or more: ')
    assert lines[3].startswith('false segments a scene: ')
    found_objects.main([*words, '--meta-threshold', '1'])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith('of 400 px or more: 0 of ')
    assert lines[3] == 'false segments a scene: 0.00'
    every, half = np.array([2, 2]), np.array([1, 1])
    assert found_objects.draw_interval(every, every) == (1.0, 1.0)
    assert found_objects.draw_interval(half, every) == (0.5, 0.5)
    low, high = found_objects.draw_interval(np.array([0, 1] * 50), np.ones(100, int))
    assert 0.35 < low < 0.45  # 0.5 - 1.96 * 0.05
    assert 0.55 < high < 0.65
