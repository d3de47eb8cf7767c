"""Evaluation with predictions whose scores are known, and the verb on a tiny bundle."""

import json

import cv2
from matplotlib import pyplot
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import save_bundle
from meta_ood_ros.core.classes import CITYSCAPES_COLORS, CITYSCAPES_NAMES
from meta_ood_ros.core.dense import DensePrediction, predict_dense
from meta_ood_ros.core.image import to_network_input
from meta_ood_ros.core.networks import build_network
from meta_ood_ros.core.scorers import SCORERS
from meta_ood_training.cli import main
from meta_ood_training.datasets import Folder, IGNORED, IN_DISTRIBUTION, OOD
from meta_ood_training.evaluation.figures import entropy_shares, thin
from meta_ood_training.evaluation.pixel_evaluation import evaluate_pixels
from meta_ood_training.evaluation.prediction import Predictor, SCORES
from meta_ood_training.evaluation.report import format_table
from meta_ood_training.plain_arguments import parse_size
from meta_ood_training.provenance.revision import source_revision
from meta_ood_training.scores import ScoreHistogram
import numpy as np
import pytest
import torch

SIZE = (8, 12)


def write(folder, samples, manifest=None, controls=None):
    """Write images whose grey level is their number, with the given targets."""
    for part in ('images', 'labels'):
        (folder / part).mkdir(parents=True)
    for number, (name, target) in enumerate(samples.items()):
        cv2.imwrite(str(folder / f'images/{name}.png'), np.full((*SIZE, 3), number, np.uint8))
        cv2.imwrite(str(folder / f'labels/{name}.png'), target)
    if controls and not manifest:
        manifest = {'frames': [{'name': name, 'group': name} for name in samples]}
    if manifest:
        (folder / 'manifest.json').write_text(json.dumps(manifest))
    for name, mask in (controls or {}).items():
        (folder / 'controls').mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f'controls/{name}.png'), mask.astype(np.uint8))
    return Folder(folder)


def street():
    """Return a target: upper half road, lower half car, the last column OoD, the first void."""
    target = np.zeros(SIZE, np.uint8)
    target[4:] = 13
    target[:, -1] = OOD
    target[:, 0] = IGNORED
    return target


def predictor(entropy, semantic=None):
    """Return a network that says the same of every image, by the image's grey level."""

    def predict(image):
        number = int(image[0, 0, 0])
        values = np.asarray(entropy[number], np.float32)
        classes = street() if semantic is None else semantic
        classes = np.where(classes < 19, classes, 0).astype(np.uint8)
        return DensePrediction(classes, values, 1 - values / 2)

    return predict


def test_a_perfect_and_an_inverted_score(tmp_path):
    dataset = write(tmp_path, {'a': street(), 'b': street()})
    good = np.where(street() == OOD, 0.9, 0.1)
    good[:, 0] = 1.0  # void: must not count
    for scores, expected in ((good, (1, 1, 0)), (1 - good, (0, None, 1))):
        both = ('entropy', 'variation_ratio')
        results = evaluate_pixels(predictor([scores, scores]), dataset, scores=both)
        for value in results[''].scores.values():
            assert value.auroc == expected[0]
            assert value.fpr95 == expected[2]
            assert expected[1] is None or value.average_precision == expected[1]
            assert value.prevalence == pytest.approx(1 / 11)
    assert results[''].confusion.mean_iou() == 1
    assert results[''].images == results[''].groups == 2


def test_scores_are_those_of_the_scorers_by_their_names():
    assert set(SCORES) <= set(SCORERS)
    logits = torch.randn(5, 8, 12, generator=torch.Generator().manual_seed(0)) * 4
    dense = predict_dense(logits, (16, 24), align_corners=True)
    image = np.zeros((16, 24, 3), np.uint8)
    for name, of_maps in SCORES.items():
        expected = SCORERS[name](align_corners=True).score(image, logits)
        np.testing.assert_allclose(of_maps(dense), expected, atol=1e-6)


def test_the_old_name_of_a_score_keeps_its_meaning(tmp_path):
    dataset = write(tmp_path, {'a': street(), 'b': street()})
    values = np.random.default_rng(0).random(street().shape)
    found = [
        evaluate_pixels(predictor([values, values]), dataset, scores=names)[''].scores
        for names in (['max_softmax'], ['variation_ratio'], ['max_softmax', 'variation_ratio'])
    ]
    assert found[0] == found[1] == found[2]
    assert list(found[0]) == ['variation_ratio']
    with pytest.raises(ValueError, match="--score must be one of entropy, variation.*got 'vim'"):
        evaluate_pixels(predictor([values]), dataset, scores=['vim'])


def test_parts_are_names_or_tags_and_are_counted_alone(tmp_path):
    manifest = {
        'frames': [
            {'name': 'Seq05VD_1', 'group': 'x', 'tags': ['coco']},
            {'name': 'Seq05VD_2', 'group': 'x'},
            {'name': '0001TP_1', 'group': 'y', 'tags': ['coco']},
        ]
    }
    dataset = write(tmp_path, {name['name']: street() for name in manifest['frames']}, manifest)
    good = np.where(street() == OOD, 0.9, 0.1)
    # Samples are sorted by name; their grey level is the order of writing.
    entropies = [good, good, 1 - good]
    parts = ('Seq05VD', 'coco', 'nothing')
    results = evaluate_pixels(predictor(entropies), dataset, parts=parts)
    assert sorted(results) == ['', 'Seq05VD', 'coco']
    assert results['Seq05VD'].scores['entropy'].auroc == 1
    assert (results['Seq05VD'].images, results['Seq05VD'].groups) == (2, 1)
    assert 0 < results['coco'].scores['entropy'].auroc < 1
    assert results[''].images == 3
    assert results[''].intervals['entropy']['auroc'].low < 0.7  # group y alone is hopeless
    assert results['Seq05VD'].intervals['entropy'] == {}


def test_groups_are_joined_by_what_they_share(tmp_path):
    names = {'1': 'x+o1', '2': 'y+o1', '3': 'y', '4': 'z'}
    manifest = {'frames': [{'name': name, 'group': group} for name, group in names.items()]}
    dataset = write(tmp_path, {name: street() for name in names}, manifest)
    entropies = [np.where(street() == OOD, 0.9, 0.1)] * 4
    assert evaluate_pixels(predictor(entropies), dataset)[''].groups == 2


def test_controls_are_compared_at_the_threshold_of_ood(tmp_path):
    pasted = np.zeros(SIZE, bool)
    pasted[4:6, 2:6] = True  # 8 of the 40 labelled car pixels
    dataset = write(tmp_path, {'a': street()}, controls={'a': pasted})
    entropy = np.where(street() == OOD, 0.9, 0.1)
    entropy[4, 2:6] = 0.95  # half of the pasted car
    entropy[7, 2:6] = 0.95  # 4 of the 36 other car pixels
    control = evaluate_pixels(predictor([entropy]), dataset)[''].control
    assert control.pasted_fpr == pytest.approx(1 / 2)
    assert control.unpasted_fpr == pytest.approx(4 / 32)
    assert (control.pasted_pixels, control.unpasted_pixels) == (8, 32)


def test_another_mix_of_classes_is_no_effect_of_pasting(tmp_path):
    target = street()
    target[4:, :5] = 11  # people beside the cars of the lower half
    pasted = np.zeros(SIZE, bool)
    person = np.argwhere(target == 11)
    pasted[tuple(person[:8].T)] = True  # of the pasted pixels 8 in 9 are people,
    pasted[tuple(np.argwhere(target == 13)[:1].T)] = True
    dataset = write(tmp_path, {'a': target}, controls={'a': pasted})
    entropy = np.where(target == OOD, 0.9, 0.1)
    entropy[target == 11] = 0.95  # and people are uncertain, pasted or not
    control = evaluate_pixels(predictor([entropy]), dataset)[''].control
    assert control.pasted_fpr == pytest.approx(8 / 9)
    assert control.unpasted_fpr == pytest.approx(8 / 9)


def test_labels_of_other_classes_give_no_mean_iou(tmp_path):
    dataset = write(tmp_path, {'a': street()})
    good = np.where(street() == OOD, 0.9, 0.1)
    result = evaluate_pixels(predictor([good]), dataset, num_classes=3, names_classes=False)['']
    assert result.scores['entropy'].auroc == 1
    assert np.isnan(result.confusion.mean_iou())


def test_data_without_ood_gives_classes_only(tmp_path):
    target = street()
    target[:6, -1], target[6:, -1] = 13, 0  # predicted as road
    dataset = write(tmp_path, {'a': target})
    result = evaluate_pixels(predictor([np.full(SIZE, 0.3)]), dataset)['']
    assert result.scores == {}
    assert 0.5 < result.confusion.mean_iou() < 1
    assert '| data | 1 | net | | | | | |' in format_table({'data': {'net': result}})


def test_data_without_classes_has_no_mean_iou(tmp_path):
    target = np.where(street() == OOD, OOD, IN_DISTRIBUTION).astype(np.uint8)
    dataset = write(tmp_path, {'a': target})
    result = evaluate_pixels(predictor([np.where(target == OOD, 0.7, 0.3)]), dataset)['']
    assert result.scores['entropy'].auroc == 1
    table = format_table({'data': {'net': result}})
    assert '| data | 1 | net | entropy | 1.000 | 1.000 | 0.000 | 1.000 |  |' in table
    assert 'random (AP = prevalence) | 0.500 | 0.083 | 0.950 |' in table


def test_violins_share_out_all_pixels():
    histogram = ScoreHistogram()
    values = np.array([0.005, 0.005, 0.5, 1.0], np.float32)
    histogram.update(values, np.array([False, False, False, True]))
    ood, known = entropy_shares(histogram.counts())
    assert ood[99] == 1
    assert known[0] == pytest.approx(2 / 3)
    assert known[50] == pytest.approx(1 / 3)


def test_thinned_curves_keep_their_ends():
    x = np.linspace(0, 1, 100000)
    short_x, short_y = thin(x, x**2)
    assert len(short_x) <= 2000
    assert (short_x[0], short_x[-1]) == (0, 1)
    assert np.abs(np.interp(x, short_x, short_y) - x**2).max() < 1e-3


def test_sizes_are_height_by_width():
    assert parse_size('512x1024') == (512, 1024)
    assert parse_size(None) is None
    with pytest.raises(ValueError, match=r"must be HEIGHTxWIDTH in px.*got '512'"):
        parse_size('512')


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
    """Save a bundle with a small network of random weights."""
    torch.manual_seed(0)
    network = build_network('espnet_v2', num_classes=19, scale=0.5).eval()
    path = tmp_path_factory.mktemp('bundle') / 'tiny'
    return save_bundle(
        Bundle(
            'tiny',
            'espnet_v2',
            {'scale': 0.5},
            CITYSCAPES_NAMES,
            CITYSCAPES_COLORS,
            work_short_side=64,
            weights=network.state_dict(),
        ),
        path,
    ), path


def test_predictor_scales_the_maps_of_the_work_grid(bundle):
    image = np.random.default_rng(0).integers(0, 255, (50, 90, 3)).astype(np.uint8)
    predict = Predictor.from_bundle(bundle[0])
    height, width = predict.grid((50, 90))
    assert height == 64
    assert abs(width - 64 * 90 / 50) <= 16
    dense = predict(image)
    network = bundle[0].build_network()
    with torch.no_grad():
        logits = network(to_network_input(image, (height, width)))[0]
    expected = predict_dense(logits, (height, width), align_corners=network.align_corners)
    np.testing.assert_allclose(
        dense.entropy, cv2.resize(expected.entropy, (90, 50)), rtol=0, atol=1e-5
    )
    # the work pixel under the centre of each image pixel; on a border it may be either
    rows, columns = ((np.arange(n) + 0.5) * m / n for n, m in ((50, height), (90, width)))
    nearest = expected.semantic[rows.astype(int)][:, columns.astype(int)]
    clear = np.ix_(rows % 1 > 1e-9, columns % 1 > 1e-9)
    assert (dense.semantic == nearest)[clear].mean() > 0.999
    assert Predictor.from_bundle(bundle[0], work_size=(32, 96)).grid((50, 90)) == (32, 96)
    assert Predictor.from_bundle(bundle[0], work_short_side=32).grid((50, 100)) == (32, 64)
    same = Predictor.from_bundle(bundle[0], work_size=(64, 96))
    assert same(np.zeros((64, 96, 3), np.uint8)).entropy.shape == (64, 96)


def test_the_verb_writes_table_scores_and_figures(bundle, tmp_path, capsys):
    write(tmp_path / 'data', {'a': street(), 'b': street()})
    output = tmp_path / 'out'
    code = main(
        [
            'evaluate',
            *('--bundle', f'before={bundle[1]}'),
            *('--bundle', f'after={bundle[1]}'),
            *('--dataset', f'streets:folder={tmp_path / "data"}'),
            *('--part', 'a'),
            *('--output', str(output)),
            *('--draws', '20'),
            *('--limit', '2'),
        ]
    )
    assert code == 0
    printed = capsys.readouterr().out
    assert '| streets | 2 | before | entropy |' in printed
    assert '| streets, a | 1 | after | variation_ratio |' in printed
    report = json.loads((output / 'scores.json').read_text())
    before, after = (report['results']['streets'][title] for title in ('before', 'after'))
    assert before == after
    scores = before['scores']['entropy']
    assert 0 <= scores['auroc'] <= 1
    assert set(scores['intervals_95']) == {'auroc', 'average_precision', 'fpr95', 'max_j'}
    assert scores['roc']['fpr'][-1] == 1
    assert report['bundles']['before']['model_id'] == bundle[0].model_id
    assert len(before['iou']) == 19
    assert report['arguments'] == {
        'part': ['a'],
        'score': None,
        'components': None,
        'limit': 2,
        'draws': 20,
        'seed': 0,
        'device': 'auto',
        'backend': 'auto',
        'precision': 'fp32',
    }
    assert report['revision'] == source_revision()
    for stem in ('streets', 'streets__a'):
        for figure in ('curves', 'entropy', 'miou'):
            picture = cv2.imread(str(output / f'{stem}_{figure}.png'))
            assert picture is not None
            assert picture.std() > 5  # something is drawn
    assert '![streets: curves](streets_curves.png)' in (output / 'scores.md').read_text()
    assert pyplot.get_fignums() == []


def test_an_output_that_cannot_be_a_folder_costs_no_prediction(bundle, tmp_path, monkeypatch):
    write(tmp_path / 'data', {'a': street()})
    (tmp_path / 'out').touch()
    monkeypatch.setattr(Predictor, '__call__', lambda *_: pytest.fail('an image was predicted'))
    words = ['--bundle', str(bundle[1]), '--dataset', f'folder={tmp_path / "data"}']
    assert main(['evaluate', *words, '--output', str(tmp_path / 'out')]) == 2


def test_the_verb_refuses_titles_that_clash(bundle, tmp_path, capsys):
    write(tmp_path / 'data', {'a': street()})
    folder = f'folder={tmp_path / "data"}'
    paths = ['--bundle', str(bundle[1])]
    assert main(['evaluate', *paths, *paths, '--dataset', folder]) == 2
    assert 'bundles must have different titles, got ' in capsys.readouterr().err
    assert main(['evaluate', *paths, '--dataset', folder, '--dataset', folder]) == 2
    assert 'data sets must have different titles, got ' in capsys.readouterr().err
    assert main(['evaluate', *paths, '--dataset', folder, '--limit', '1', '--draws', '0']) == 0
    assert '| folder | 1 | tiny | entropy |' in capsys.readouterr().out
