"""The verb that fits a method and keeps it, and `evaluate --fitted`, which reads it."""

import cv2
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_training.cli import main
from meta_ood_training.datasets import Folder, IGNORED, OOD
from meta_ood_training.evaluation.bench.run import evaluate_methods
from meta_ood_training.evaluation.fit_score import fit_score
from meta_ood_training.methods.fitted_file import FittedFile
import numpy as np
import pytest

SMALL = {'embeddings': 400, 'iterations': 10}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Return a folder with two sets of frames, of two classes and an OoD block."""
    folder = tmp_path_factory.mktemp('frames')
    for name, first in (('fit', 0), ('judged', 3)):
        for part in ('images', 'labels'):
            (folder / name / part).mkdir(parents=True)
        for number in range(first, first + 3):
            image = np.random.default_rng(number).integers(100, 256, (64, 96, 3), dtype=np.uint8)
            target = np.zeros((64, 96), np.uint8)
            target[:, 48:], target[:2] = 2, IGNORED
            image[20:44, 30:60] //= 4
            target[20:44, 30:60] = OOD
            cv2.imwrite(str(folder / name / f'images/{number}.png'), image)
            cv2.imwrite(str(folder / name / f'labels/{number}.png'), target)
    return folder


def words(data, small_bundle, output, method, *more):
    return [
        'fit-score', method, '--bundle', str(small_bundle), '--data', f'folder={data / "fit"}',
        '--device', 'cpu', '--output', str(output), *more,
    ]  # fmt: skip


def test_what_the_verb_fits_is_what_evaluate_would_have_fitted(
    data, small_bundle, tmp_path, capsys
):
    output = tmp_path / 'fitted'
    assert main(words(data, small_bundle, output, 'mahalanobis')) == 0
    more = ('--embeddings', '400', '--seed', '3')
    assert main(words(data, small_bundle, output, 'knn_density', *more)) == 0
    assert 'mahalanobis: 3 frames' in capsys.readouterr().out
    names = sorted(one.name for one in output.iterdir())
    assert names == [
        'knn_class_density.safetensors',
        'knn_density.safetensors',
        'mahalanobis.safetensors',
    ]
    kept = FittedFile.load(output / 'knn_density.safetensors')
    assert kept.network_sha256 == load_bundle(small_bundle).network_sha256
    assert (kept.facts['frames'], kept.facts['seed']) == (3, 3)
    assert kept.facts['options'] == {'embeddings': 400}
    common = {'bundles': small_bundle, 'draws': 0, 'device': 'cpu', 'with_published': False}
    judged, methods = f'folder={data / "judged"}', ['mahalanobis', 'knn_density', 'odin']
    read = evaluate_methods(judged, methods=methods, fitted=output, **common)
    assert read.missing == {small_bundle.name: {}}
    fresh = evaluate_methods(
        judged, methods='mahalanobis', fit_data=f'folder={data / "fit"}', **common
    )
    (rows,), (again,) = read.ranked.values(), fresh.ranked.values()
    (expected,) = [row.scores.average_precision for row in again]
    (found,) = [row.scores.average_precision for row in rows if row.method == 'mahalanobis']
    assert found == pytest.approx(expected, abs=1e-6)
    assert len(rows) == 3


def test_a_stopped_fit_goes_on(data, small_bundle, tmp_path):
    given = {
        'output': tmp_path / 'out', 'bundle': small_bundle, 'device': 'cpu',
        'ood_data': f'folder={data / "fit"}', 'noise': 0.0, **SMALL,
    }  # fmt: skip
    told = []

    def stop(line):
        told.append(line)
        if line.startswith('iteration 6 '):
            raise KeyboardInterrupt

    street = f'folder={data / "fit"}'
    with pytest.raises(KeyboardInterrupt):
        fit_score('flow_regression', street, tell=stop, **given)
    with pytest.raises(
        ValueError, match='holds a fit of flow_regression that was stopped, .* --res'
    ):
        fit_score('flow_regression', street, **given)
    told.clear()
    result = fit_score('flow_regression', street, resume=True, tell=told.append, **given)
    assert 'goes on at iteration 5 of 10' in told
    assert [one.stem for one in result.files] == ['flow_regression', 'flow_minimum', 'flow']
    assert sorted(one.name for one in (tmp_path / 'out').iterdir()) == [
        'flow.safetensors', 'flow_minimum.safetensors', 'flow_regression.safetensors',
    ]  # fmt: skip
    found = evaluate_methods(
        f'folder={data / "judged"}', methods=['flow', 'flow_minimum', 'flow_regression'],
        bundles=small_bundle, fitted=tmp_path / 'out', draws=0, device='cpu',
    )  # fmt: skip
    assert found.missing == {small_bundle.name: {}}
    with pytest.raises(ValueError, match='must not hold flow_regression.safetensors, .* --overwr'):
        fit_score('flow_regression', street, **given)


@pytest.mark.parametrize(
    ('method', 'more', 'message'),
    [
        ('odin', (), "got 'odin', which needs no fit"),
        ('entropy', (), "got 'entropy', which needs no fit"),
        ('maha', (), "got 'maha', no such method"),
        ('mahalanobis', ('--iterations', '3'), '--iterations is no option of mahalanobis'),
        ('flow', ('--ood-data', 'folder=x'), 'flow uses no OoD data, got --ood-data'),
        ('flow', ('--noise', '-1'), 'noise of a flow must be at least 0 grey levels, got -1'),
        ('flow', ('--iterations', '0'), 'iterations of a flow must be at least 1, got 0'),
        ('flow', ('--embeddings', '0'), 'a sample must keep at least 1 embedding, got 0'),
        ('flow', ('--limit', '-1'), '--limit must be at least 0, got -1'),
        ('flow', ('--layer', 'x'), "layer must be a module of EspNetV2, got 'x'"),
        ('flow', ('--data', 'camvid=x'), 'labels of camvid (camvid) must name the classes of'),
    ],
)
def test_the_verb_refuses(data, small_bundle, tmp_path, capsys, method, more, message):
    assert main(words(data, small_bundle, tmp_path / 'out', method, *more)) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob('*.safetensors'))


@pytest.mark.parametrize('method', ['energy', 'vim'])
def test_a_served_method_gives_a_bundle_whose_threshold_is_a_false_positive_rate(
    method, data, small_bundle, tmp_path, capsys
):
    output = tmp_path / 'bundle'
    assert main(words(data, small_bundle, output, method)) == 0
    bundle = load_bundle(output)
    assert (bundle.score, bundle.entropy_threshold) == (method, 0.99)
    assert bundle.meta_classifiers == ()
    pipeline = OodPipeline(bundle, backend='eager')
    dataset = Folder(data / 'fit', num_classes=3)
    passed, counted = 0, 0
    for number in range(len(dataset)):
        sample = dataset[number]
        known = (sample.target != OOD) & (sample.target != IGNORED)
        result = pipeline(sample.image)
        assert result.score == method
        passed += np.count_nonzero(result.entropy[known] >= 0.99)
        counted += np.count_nonzero(known)
    assert passed / counted == pytest.approx(0.01, abs=0.003)
    assert main(words(data, small_bundle, output, method)) == 2
    assert f'a new folder for the bundle that serves {method}' in capsys.readouterr().err
