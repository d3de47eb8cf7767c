"""F1 of components in the table of all methods: a second pass at each method's best threshold."""

import json
import math

import cv2
from meta_ood_ros.core.files import whole_folders
from meta_ood_training.cli import main
from meta_ood_training.datasets import Folder, IGNORED, OOD, Sample
from meta_ood_training.evaluation import evaluate, frame_walk
from meta_ood_training.evaluation.bench import component_f1, kept_scores
from meta_ood_training.evaluation.bench import counts as bench_counts
from meta_ood_training.evaluation.bench.run import evaluate_methods
from meta_ood_training.evaluation.components import ComponentPass
from meta_ood_training.scores import SIZE_RULES
import numpy as np
import pytest

SIZE = (64, 96)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Write four frames with a dark block, one damaged, and void at the top."""
    folder = tmp_path_factory.mktemp('frames')
    for part in ('images', 'labels'):
        (folder / part).mkdir()
    for number in range(4):
        rng = np.random.default_rng(number)
        image = cv2.GaussianBlur(rng.integers(60, 256, (*SIZE, 3), dtype=np.uint8), (0, 0), 2)
        target = np.zeros(SIZE, np.uint8)
        target[:2] = IGNORED
        image[20:44, 30:60] //= 4
        target[20:44, 30:60] = OOD
        cv2.imwrite(str(folder / f'images/{number}.png'), image)
        cv2.imwrite(str(folder / f'labels/{number}.png'), target)
    (folder / 'labels/2.png').write_bytes(b'no image')
    return folder


def test_f1_is_that_of_evaluate_and_every_method_has_one(data, small_bundle, tmp_path):
    common = {'bundles': {'net': small_bundle}, 'draws': 0, 'device': 'cpu'}
    found = evaluate_methods(
        f'folder={data}', methods='entropy,msp'.split(','), components='obstacle_track',
        output=tmp_path / 'out', **common,
    )  # fmt: skip
    alone = evaluate(
        f'folder={data}', scores='entropy', components='obstacle_track', backend='eager', **common
    )
    expected = alone.report['components'][0]
    assert expected['decision'] == 'best F1 of pixels'
    rows = {row.method: row for row in found.ranked['folder']}
    assert rows['entropy'].f1 == pytest.approx(expected['f1'], abs=1e-6)
    assert 0 <= rows['msp'].f1 <= 1
    assert f'{rows["entropy"].f1:.3f}' in found.table
    record = json.loads((tmp_path / 'out/methods.json').read_text())
    assert record['components'] == 'obstacle_track'
    assert {row['method']: row['f1'] for row in record['ranking']['folder']} == {
        name: pytest.approx(row.f1) for name, row in rows.items()
    }
    assert list(record['skipped']['folder']) == ['2']
    assert not (tmp_path / 'out/unfinished').exists()


@pytest.mark.parametrize('torn', [False, True])
def test_scores_that_took_long_are_not_computed_twice(
    data, small_bundle, tmp_path, monkeypatch, torn
):
    common = {'methods': ['entropy', 'msp', 'energy'], 'components': 'obstacle_track', 'draws': 0}
    common |= {'bundles': {'net': small_bundle}, 'device': 'cpu'}
    expected = evaluate_methods(f'folder={data}', **common).ranked['folder']
    whole, looked, kept = bench_counts.look, [], []

    def look(view, *arguments, **options):
        looked.append(list(view.scorers))
        dense, maps, seconds = whole(view, *arguments, **options)
        return dense, maps, {name: 2.0 if name != 'msp' else 0.2 for name in seconds}

    def second(*arguments):
        files = sorted((tmp_path / 'out/unfinished').glob('*/*.npy'))
        kept.append(len(files))
        if torn:
            files[0].write_bytes(files[0].read_bytes()[:200])
        return [*arguments]

    monkeypatch.setattr(bench_counts, 'look', look)
    monkeypatch.setattr(component_f1, 'look', look)
    monkeypatch.setattr(component_f1, 'ComponentPass', lambda *a: ComponentPass(*second(*a)))
    monkeypatch.setattr(whole_folders, '_MOST_CARRIED', 5)  # no folder of scores is carried along
    found = evaluate_methods(f'folder={data}', output=tmp_path / 'out', **common)
    rows = found.ranked['folder']
    assert {row.method: row.f1 for row in rows} == {row.method: row.f1 for row in expected}
    assert kept[0] == 2 * 3  # entropy and energy, three frames
    again = [name for names in looked[3:] for name in names if name != 'msp']
    assert len(again) == int(torn)
    assert not (tmp_path / 'out/unfinished').exists()


def test_kept_scores_stay_below_their_limit_and_begin_anew(tmp_path, monkeypatch):
    image, values = np.zeros((4, 6, 3), np.uint8), np.arange(24, dtype=np.float32).reshape(4, 6)
    monkeypatch.setattr(kept_scores, 'MOST_BYTES', 100)
    kept = kept_scores.KeptScores(tmp_path / 'kept', resume=False)
    kept.keep(image, {'a': values, 'quick': values}, {'a': 2.0, 'quick': 0.1})
    kept.keep(image + 1, {'a': values}, {'a': 2.0})  # 96 bytes are taken
    again = kept_scores.KeptScores(tmp_path / 'kept', resume=True)
    assert list(again.take(image, ['a', 'quick'])) == ['a']
    np.testing.assert_array_equal(again.take(image, ['a'])['a'], values)
    assert again.take(image + 1, ['a']) == {}
    again.keep(image + 2, {'a': values}, {'a': 2.0})
    again.clear()
    assert list(tmp_path.iterdir()) == []
    assert kept_scores.KeptScores(tmp_path / 'kept', resume=False).take(image, ['a']) == {}


@pytest.mark.parametrize('scored', [1, 2])
def test_a_second_pass_that_was_interrupted_goes_on(
    data, small_bundle, tmp_path, monkeypatch, scored
):
    monkeypatch.setattr(frame_walk, 'KEEP_EVERY_S', 0)
    whole, seen = ComponentPass.count, []

    def run(output, *, last=99, rule='obstacle_track', **options):
        seen.clear()

        def count(self, index, sample):
            if len(seen) == last:
                raise KeyboardInterrupt
            seen.append(index)
            whole(self, index, sample)

        monkeypatch.setattr(ComponentPass, 'count', count)
        read.clear()
        return evaluate_methods(
            f'folder={data}', methods=['entropy', 'msp', 'energy'], components=rule,
            bundles={'net': small_bundle}, draws=0, device='cpu', output=output, **options,
        )  # fmt: skip

    read = []
    score = bench_counts.look

    def look(*arguments, **options):
        read.append(arguments)
        return score(*arguments, **options)

    monkeypatch.setattr(bench_counts, 'look', look)
    monkeypatch.setattr(component_f1, 'look', look)
    expected = run(tmp_path / 'whole').ranked['folder']
    assert (len(read), seen) == (6, [0, 1, 3])
    output = tmp_path / 'out'
    with pytest.raises(KeyboardInterrupt):
        run(output, last=scored)
    rows = run(output, resume=True).ranked['folder']
    assert seen == [0, 1, 3][scored:]
    assert len(read) == 3 - scored
    assert {row.method: row.f1 for row in rows} == {row.method: row.f1 for row in expected}
    assert len({row.f1 for row in rows}) > 1  # or methods could be exchanged unseen
    # another size rule is another pass over the same scores
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / 'other', last=scored)
    run(tmp_path / 'other', resume=True, rule='all')
    assert (len(read), seen) == (3, [0, 1, 3])


def test_a_second_pass_of_other_artefacts_is_refused(data, small_bundle, tmp_path, monkeypatch):
    def interrupted(self, index, sample):
        raise KeyboardInterrupt

    common = {'bundles': small_bundle, 'methods': 'msp', 'draws': 0, 'device': 'cpu'}
    with monkeypatch.context() as patch:
        patch.setattr(ComponentPass, 'count', interrupted)
        with pytest.raises(KeyboardInterrupt):
            evaluate_methods(f'folder={data}', components='all', output=tmp_path / 'out', **common)
    with pytest.raises(
        ValueError, match='must go on as the run was begun, with .*"artefacts": {}'
    ):
        evaluate_methods(
            f'folder={data}', components='all', output=tmp_path / 'out', resume=True,
            artefacts=['vim=x.safetensors'], **common,
        )  # fmt: skip


def test_components_of_a_pass_are_known_by_title():
    def masks(image):
        return {'a': image[..., 0] > 0, 'b': image[..., 0] > 1}

    image = np.zeros((20, 20, 3), np.uint8)
    image[5:10, 5:10] = 1
    target = np.where(image[..., 0] > 0, OOD, 0).astype(np.uint8)
    first = ComponentPass(masks, ['a', 'b'], SIZE_RULES['all'])
    first.count(0, Sample(image, target, 'x', 'x'))
    again = ComponentPass(masks, ['b', 'a'], SIZE_RULES['all'])  # as another process orders them
    again.add_arrays(first.to_arrays())
    assert {name: one.scores().f1 for name, one in again.counts.items()} == {'a': 1.0, 'b': 0.0}


def test_without_the_option_there_is_no_f1_and_no_second_pass(data, small_bundle, monkeypatch):
    read = []
    whole = Folder.__getitem__
    monkeypatch.setattr(
        Folder, '__getitem__', lambda self, index: (read.append(index), whole(self, index))[1]
    )
    found = evaluate_methods(
        f'folder={data}', methods=['entropy'], bundles=small_bundle, draws=0, device='cpu'
    )
    assert all(math.isnan(row.f1) for row in found.ranked['folder'])
    assert read == [0, 1, 2, 3]


def test_the_verb_passes_the_rule_on_and_says_what_was_skipped(data, small_bundle, capsys):
    words = ['evaluate', '--bundle', str(small_bundle), '--data', f'folder={data}']
    options = ['--methods', 'msp', '--components', 'all', '--draws', '0', '--no-published']
    assert main([*words, *options]) == 3
    captured = capsys.readouterr()
    (row,) = [line for line in captured.out.splitlines() if line.startswith('| msp |')]
    assert 0 <= float(row.split('|')[6]) <= 1
    assert 'skipped 2 of folder: ' in captured.err
    with pytest.raises(ValueError, match="--components must be one of anomaly_track, .*got 'big'"):
        evaluate_methods(f'folder={data}', bundles=small_bundle, components='big')
