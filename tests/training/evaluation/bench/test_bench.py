"""Every method on a small bundle and drawn frames: ranks, reasons, files, and what is refused."""

import json
from typing import ClassVar

import cv2
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.scorers import EntropyScorer, MaxLogitScorer
from meta_ood_training.cli import main
from meta_ood_training.datasets import IGNORED, OOD
from meta_ood_training.evaluation import evaluate
from meta_ood_training.evaluation.bench.counts import frame_precision, look
from meta_ood_training.evaluation.bench.fitting import find_artefacts, FitFrames, spread, View
from meta_ood_training.evaluation.bench.pictures import draw_scores
from meta_ood_training.evaluation.bench.published import PUBLISHED
from meta_ood_training.evaluation.bench.ranking import training_of
from meta_ood_training.evaluation.bench.run import evaluate_methods, list_methods
from meta_ood_training.methods import METHODS, Observer
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

SIZE = (64, 96)
QUICK = 'entropy,msp,max_logit,energy,standardized_max_logit,vim'


def make_frames(folder, count, *, first=0, with_ood=True):
    """Write frames of noise with two classes and an OoD block that is darker than the rest."""
    for part in ('images', 'labels'):
        (folder / part).mkdir(parents=True)
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        image = rng.integers(100, 256, (*SIZE, 3), dtype=np.uint8)
        target = np.zeros(SIZE, np.uint8)
        target[:, SIZE[1] // 2 :] = 2
        target[:2] = IGNORED
        if with_ood:
            image[20:44, 30:60] //= 4
            target[20:44, 30:60] = OOD
        cv2.imwrite(str(folder / f'images/{number:03}.png'), image)
        cv2.imwrite(str(folder / f'labels/{number:03}.png'), target)
    return folder


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('frames')
    make_frames(folder / 'judged', 3)
    make_frames(folder / 'fit', 4, first=10, with_ood=False)
    return folder


@pytest.fixture(scope='module')
def found(data, small_bundle, tmp_path_factory):
    output = tmp_path_factory.mktemp('out') / 'bench'
    return evaluate_methods(
        f'folder={data / "judged"}',
        methods=QUICK.split(','),
        bundles=small_bundle,
        fit_data=f'folder={data / "fit"}',
        output=output,
        gallery=1,
        components='all',
        draws=20,
        device='cpu',
    )


def test_methods_are_ranked_by_ap_with_the_scores_that_evaluate_gives(found, data, small_bundle):
    (rows,) = found.ranked.values()
    assert {row.method for row in rows} == set(QUICK.split(','))
    precisions = [row.scores.average_precision for row in rows]
    assert precisions == sorted(precisions, reverse=True)
    assert all(row.seconds > 0 for row in rows)
    assert all(0 <= row.f1 <= 1 for row in rows)
    assert rows[0].f1 > 0
    assert found.missing == {small_bundle.name: {}}
    alone = evaluate(f'folder={data / "judged"}', bundles=small_bundle, draws=0, device='cpu')
    ((by_bundle,),) = [list(one.values()) for one in alone.results.values()]
    entropy = next(row for row in rows if row.method == 'entropy')
    # one network, two ways to run it
    for key in ('average_precision', 'auroc', 'fpr95'):
        expected = getattr(by_bundle.scores['entropy'], key)
        assert getattr(entropy.scores, key) == pytest.approx(expected, abs=2e-3)
    assert entropy.mean_iou == pytest.approx(by_bundle.confusion.mean_iou(), abs=1e-3)


def test_the_table_has_a_random_row_and_the_papers_apart(found):
    (rows,) = found.ranked.values()
    own, *published = found.table.split('### Published, not measured here: ')
    assert f'| random (AP = prevalence) | {rows[0].scores.prevalence:.3f} | 0.950 |' in own
    assert len(published) == len(PUBLISHED)
    assert 'SynBoost' not in own
    assert '| SynBoost | 0.432 | 0.158 | 0.814 | no | yes | 2.32 |' in found.table
    assert '| DeepV3W + OoD training + entropy | 0.760 | 0.090 | 0.890 |' in found.table


def test_files(found):
    names = sorted(one.name for one in found.output.iterdir())
    assert 'methods.md' in names
    assert sum(name.endswith('_curves.png') for name in names) == 1
    assert sum(name.endswith('_gallery.jpg') for name in names) == len(QUICK.split(','))
    record = json.loads((found.output / 'methods.json').read_text())
    (rows,) = record['ranking'].values()
    assert rows[0]['average_precision'] >= rows[-1]['average_precision']
    assert record['fit_data']
    assert len(record['revision']) > 3


def test_what_cannot_run_is_listed_with_the_reason(data, small_bundle):
    found = evaluate_methods(
        f'folder={data / "judged"}',
        methods=['entropy', 'vim'],
        bundles=small_bundle,
        draws=0,
        device='cpu',
    )
    ((title, reasons),) = found.missing.items()
    assert 'vim is fitted on labelled in-distribution frames, got none' in reasons['vim']
    assert '### Did not run' in found.table
    assert '* vim: vim is fitted on' in found.table
    assert title == small_bundle.name


def test_a_method_that_fails_on_a_frame_is_listed_not_fatal(small_bundle, data, monkeypatch):
    calls = []

    def broken(self, logits):
        calls.append(logits)
        return logits[0] * np.inf if len(calls) == 2 else logits[0]

    monkeypatch.setattr(MaxLogitScorer, 'of_logits', broken)
    found = evaluate_methods(
        f'folder={data / "judged"}',
        methods='entropy,max_logit'.split(','),
        bundles=small_bundle,
        draws=0,
        device='cpu',
    )
    (rows,) = found.ranked.values()
    assert [row.method for row in rows] == ['entropy']
    assert 'max_logit must be finite' in found.missing[small_bundle.name]['max_logit']


def test_no_method_at_all_is_an_error(data, small_bundle):
    with pytest.raises(ValueError, match='no method could run. vim: vim is fitted on labelled'):
        evaluate_methods(
            f'folder={data / "judged"}', methods='vim', bundles=small_bundle, device='cpu'
        )


def test_nothing_is_fitted_on_what_is_judged(data, small_bundle):
    with pytest.raises(ValueError, match='--fit-data must hold no frame that is judged, got 3'):
        evaluate_methods(
            f'folder={data / "judged"}',
            methods='vim',
            bundles=small_bundle,
            fit_data=f'fit:folder={data / "judged"}',
            device='cpu',
        )


def test_frame_precision_is_that_of_scikit_learn():
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(40, 60)).astype(np.float32)
    target = rng.choice([0, 5, OOD, IGNORED], (40, 60)).astype(np.uint8)
    part = np.s_[::4, ::4]
    counted = target[part] != IGNORED
    expected = average_precision_score((target[part] == OOD)[counted], scores[part][counted])
    assert frame_precision(scores, target) == pytest.approx(expected)
    assert frame_precision(scores, np.zeros((40, 60), np.uint8)) is None
    assert frame_precision(scores, np.full((40, 60), OOD, np.uint8)) is None


def test_frames_to_fit_on_are_walked_alike_every_time(small_bundle, monkeypatch):
    class Dataset:
        def __len__(self):
            return 10

    class Observing:
        network = None
        walked: ClassVar[list[int]] = []

        def walk(self, dataset, indices, *, with_features):
            self.walked += indices
            for index in indices:
                image = np.full((4, 4, 3), index, np.uint8)
                logits = np.zeros((2, 2, 2), np.float32)
                yield type('One', (), {'image': image, 'logits': logits, 'features': None})()

    assert spread(10, 4) == [1, 3, 6, 8]
    assert spread(3, 0) == spread(3, 9) == [0, 1, 2]
    frames = FitFrames(Observing(), [Dataset()], limit=4)
    first = [one.image[0, 0, 0] for one in frames()]
    assert first == [one.image[0, 0, 0] for one in frames()] == [1, 3, 6, 8]
    assert Observing.walked == [1, 3, 6, 8]
    Observing.walked.clear()
    monkeypatch.setattr('meta_ood_training.evaluation.bench.fitting.KEPT_BYTES', 200)
    some = FitFrames(Observing(), [Dataset()], limit=4)
    assert [[one.image[0, 0, 0] for one in some()] for _ in range(2)] == [first] * 2
    assert Observing.walked == [1, 3, 6, 8, 6, 8]


def test_maps_come_back_at_the_size_of_the_image(small_bundle):
    bundle = load_bundle(small_bundle)
    observer = Observer.from_bundle(bundle, work_size=(64, 96), device='cpu')
    view = View(observer, {'entropy': EntropyScorer(align_corners=True)})
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    dense, maps, seconds = look(view, image, 3)
    assert maps['entropy'].shape == dense.semantic.shape == (50, 70)
    np.testing.assert_allclose(maps['entropy'], dense.entropy, atol=1e-6)
    assert seconds['entropy'] > 0


def test_scores_are_drawn_dark_to_bright_with_the_objects():
    image = np.zeros((40, 60, 3), np.uint8)
    scores = np.zeros((40, 60), np.float32)
    scores[10:20, 10:20] = 1.0
    target = np.zeros((40, 60), np.uint8)
    target[28:36, 40:50] = OOD
    picture = draw_scores(image, scores, target).astype(int)
    assert picture[15, 15].sum() > picture[5, 5].sum() + 200
    assert picture[28, 45, 1] == 220


def test_artefacts_by_name(tmp_path):
    (tmp_path / 'vim.safetensors').write_bytes(b'')
    (tmp_path / 'energy').mkdir()
    names = ['vim', 'energy', 'msp']
    found = find_artefacts(tmp_path, [f'msp={tmp_path}/x'], names)
    assert {name: path.name for name, path in found.items()} == {
        'vim': 'vim.safetensors',
        'energy': 'energy',
        'msp': 'x',
    }
    with pytest.raises(ValueError, match='--artefact must be METHOD=PATH .* got .entropie=x'):
        find_artefacts(None, ['entropie=x'], names)
    with pytest.raises(ValueError, match='--fitted must be a folder'):
        find_artefacts(tmp_path / 'no', [], names)


def test_training_of_a_bundle_by_its_provenance():
    ours = training_of({'step': 1600, 'data': ['camvid', 'coco']})
    assert (ours.retrains, ours.uses_ood_data) == (True, True)
    plain = training_of({'step': 1600, 'data': ['camvid']})
    assert (plain.retrains, plain.uses_ood_data) == (True, False)
    published = training_of({'command': 'converted as published'})
    assert (published.retrains, published.uses_ood_data) == (False, False)


def test_the_document_lists_every_method(repository):
    assert list_methods() in (repository / 'docs/evaluation.md').read_text()


def test_the_verb_lists_methods(capsys):
    with pytest.raises(SystemExit) as ended:
        main(['evaluate', '--list-methods'])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for name, method in METHODS.items():
        assert f'| {name} | {method.summary} | {method.paper} |' in text


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--methods', 'entropie'], "got 'entropie'. Did you mean 'entropy'?"),
        (['--fit-data', 'folder=x'], '--fit-data belongs to methods, got it without --methods'),
        (['--methods', 'all', '--segments'], 'got it with --segments or --score'),
        (['--methods', 'all', '--score', 'entropy'], 'got it with --segments or --score'),
        (['--methods', 'all', '--backend', 'onnx'], 'got --backend or --precision'),
        (['--gallery', '3'], '--gallery belongs to --segments or --methods'),
        (['--methods', 'msp', '--fit-limit', '-1'], '--fit-limit must be at least 0, got -1'),
        (['--methods', 'msp', '--limit', '-1'], '--limit must be at least 0, got -1'),
    ],
)
def test_the_verb_refuses(options, message, data, capsys):
    assert main(['evaluate', '--data', f'folder={data / "judged"}', *options]) == 2
    assert message in capsys.readouterr().err


def test_the_verb_prints_the_table(data, small_bundle, tmp_path, capsys):
    output = tmp_path / 'out'
    words = ['--data', f'mine:folder={data / "judged"}', '--bundle', str(small_bundle)]
    words += ['--methods', 'msp,entropy', '--draws', '0', '--device', 'cpu', '--no-published']
    assert main(['evaluate', *words, '--output', str(output)]) == 0
    text = capsys.readouterr().out
    assert '### mine (3 images)' in text
    assert 'Published' not in text
    assert f'written to {output}' in text
