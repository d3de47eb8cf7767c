"""The functions of a notebook: what each returns, and that its verb gives the same numbers."""

import importlib
import importlib.util
import json
from pathlib import Path
import re
import shutil
import subprocess
import sys

import cv2
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.networks import build_network
import meta_ood_training
from meta_ood_training import (
    evaluate,
    export_bundle,
    extract_segments,
    ExtractionOptions,
    finetune,
    fit_meta,
    FitMetaOptions,
    make_overlay,
)
from meta_ood_training.cli import main
from meta_ood_training.overlays.plan import OverlaySettings
from meta_ood_training.segments.table import read_table
import numpy as np
import pytest
import torch


def load(name):
    """Return a module that lies beside this one: importlib mode has no packages of tests."""
    path = Path(__file__).parent / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


recording = load('segments/recording.py')
make_frame = recording.make_frame
drawn = load('conftest.py')


@pytest.fixture(autouse=True)
def silent(capsys):
    """No function prints, and none shows a bar unasked."""
    yield
    said = capsys.readouterr()
    assert not said.out
    assert '%|' not in said.err


@pytest.fixture
def verb(capsys):
    """Return a function that runs a verb, drops what it prints, and returns its lines."""

    def run(*words):
        before = capsys.readouterr()
        assert not before.out
        assert main([str(one) for one in words]) == 0
        return capsys.readouterr().out.splitlines()

    return run


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    """Write five frames with truth in the plain layout."""
    root = tmp_path_factory.mktemp('frames')
    for kind in ('images', 'labels'):
        (root / kind).mkdir()
    for seed in range(5):
        image, target = make_frame(seed)
        cv2.imwrite(str(root / 'images' / f'{seed}.png'), image[:, :, ::-1])
        cv2.imwrite(str(root / 'labels' / f'{seed}.png'), target)
    return root


def test_names_are_found_when_asked_for_and_nothing_heavy_is_imported():
    program = (
        'import sys, meta_ood_training, meta_ood_training.meta; '
        'assert "fit_meta" in dir(meta_ood_training); '
        'print({"torch", "numpy", "cv2", "lightning"} & set(sys.modules))'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.stdout.strip() == 'set()', done.stderr
    assert all(callable(getattr(meta_ood_training, name)) for name in meta_ood_training.__all__)
    wings = 'adaptation bundles evaluation finetuning meta overlays segments'
    for wing in wings.split():
        door = importlib.import_module(f'meta_ood_training.{wing}')
        shared = [name for name in meta_ood_training.__all__ if hasattr(door, name)]
        assert any(name.endswith('Result') for name in shared), wing
        for name in shared:
            assert getattr(door, name) is getattr(meta_ood_training, name)
    with pytest.raises(AttributeError, match="module 'meta_ood_training' has no attribute 'fit'"):
        meta_ood_training.fit  # noqa: B018


def test_finetune(tmp_path, verb):
    config = drawn.make_small_config(tmp_path, max_steps=2)
    result = finetune(config, tmp_path / 'run', accelerator='cpu')
    assert (result.best, result.best_weights, result.output) == (None, None, tmp_path / 'run')
    assert result.weights.is_file()
    assert result.figure.is_file()
    assert repr(result).startswith('FinetuneResult(not validated, 0.')
    facts = torch.load(result.weights, weights_only=True)
    assert (facts['step'], facts['command']) == (2, 'meta_ood_training.finetune')
    path = tmp_path / 'config.yaml'
    path.write_text((tmp_path / 'run' / 'config.json').read_text())  # JSON is YAML
    verb('finetune', path, '--output', tmp_path / 'verb')
    other = torch.load(tmp_path / 'verb' / 'final.pth', weights_only=True)['state_dict']
    for name, value in facts['state_dict'].items():
        assert torch.equal(value, other[name]), name
    with pytest.raises(ValueError, match='output must be a new folder, got .*holds a run'):
        finetune(config, tmp_path / 'run')
    with pytest.raises(ValueError, match='--resume needs .*last.ckpt, got no such file'):
        finetune(config, tmp_path / 'other', resume=True)
    with pytest.raises(ValueError, match='overrides change a file, got training.seed=1 beside'):
        finetune(config, tmp_path / 'other', overrides=['training.seed=1'])


def test_export_bundle(tmp_path, verb):
    torch.manual_seed(0)
    network = build_network('espnet_v2', num_classes=19, scale=0.5)
    checkpoint = tmp_path / 'published.pth'
    torch.save(network.state_dict(), checkpoint)
    told = {'architecture': 'espnet_v2', 'arguments': {'scale': 0.5}, 'licence': 'MIT'}
    told['data_terms'] = 'none'
    result = export_bundle(checkpoint, tmp_path / 'mine', **told, entropy_threshold=0.4)
    assert result.bundle.digest == load_bundle(result.path).digest
    assert result.size == sum(one.stat().st_size for one in (tmp_path / 'mine').iterdir())
    assert repr(result).startswith(f'BundleResult({result.bundle.model_id}, ')
    words = ('--architecture', 'espnet_v2', '--argument', 'scale=0.5', '--licence', 'MIT')
    words += ('--data-terms', 'none')
    words += ('--checkpoint', checkpoint, '--entropy-threshold', '0.4', '--name', 'mine')
    (line,) = verb('bundle', *words, '--output', tmp_path / 'verb')
    assert load_bundle(tmp_path / 'verb').digest == result.bundle.digest
    assert line.startswith(f'{result.bundle.model_id} in ')
    half = export_bundle(checkpoint, tmp_path / 'half', **told, half=True)
    assert half.half_difference <= 0.01
    assert half.size < 0.7 * result.size
    with pytest.raises(
        ValueError, match='must state the licence of its weights, got none. Add --licence'
    ):
        export_bundle(checkpoint, tmp_path / 'none', architecture='espnet_v2')


def test_extract_segments(frames, small_bundle, tmp_path, verb):
    data, words = f'folder={frames}', ('--data', f'folder={frames}', '--bundle', small_bundle)
    options = ExtractionOptions(data=data, thresholds=0.5, device='cpu')
    result = extract_segments(tmp_path / 'mine', bundle=small_bundle, options=options)
    assert result.counts['frames'] == 5
    assert (result.losses, result.thresholds) == ((), (0.5,))
    assert repr(result).endswith(f'in {tmp_path / "mine"})')
    verb('segments', tmp_path / 'verb', *words, '--threshold', '0.5', '--device', 'cpu')
    for table in ('segments', 'objects', 'frames', 'overlaps'):
        mine, verbs = (read_table([tmp_path / name], table) for name in ('mine', 'verb'))
        assert len(mine) == result.counts[table]
        assert mine.equals(verbs)
    stated = json.loads((tmp_path / 'mine' / 'segments.json').read_text())
    assert stated['command'] == 'meta_ood_training.extract_segments'
    bundle = load_bundle(small_bundle)  # a bundle in memory serves, too, and so does one option
    again = extract_segments(tmp_path / 'mine', bundle=bundle, data=[data], overwrite=True)
    assert again.thresholds == (bundle.entropy_threshold,)
    with pytest.raises(ValueError, match='folder without segments, got .* Choose another'):
        extract_segments(tmp_path / 'mine', bundle=bundle, data=data)
    for wrong, sentence in (
        ({'label_rule': 'mine'}, "--label-rule must be one of deployed, published, got 'mine'"),
        ({'scene_shapes': 'all'}, "--scene-shapes must be one of train, test, got 'all'"),
        ({'block_seconds': 0}, '--block-seconds must be positive, got 0. Ten is usual'),
        ({}, 'needs frames with ground truth, got none'),
    ):
        with pytest.raises(ValueError, match=sentence):
            extract_segments(tmp_path / 'new', bundle=bundle, **wrong)


def test_fit_meta(make_segments, small_bundle, tmp_path, verb):
    folder = make_segments(60, separation=3.0)
    quick = {'only': True, 'folds': 4}
    result = fit_meta(
        folder,
        bundle=small_bundle,
        options=FitMetaOptions(**quick, report=tmp_path / 'mine'),
        output=str(tmp_path / 'bundle'),
    )
    assert result.bundle.digest == load_bundle(tmp_path / 'bundle').digest
    assert result.output == tmp_path / 'bundle'
    assert result.figures
    assert all(one.is_file() for one in (result.report_file, *result.figures))
    assert repr(result).startswith('FitMetaResult(logistic_regression with entropy threshold ')
    words = ('--bundle', small_bundle, '--only', '--folds', '4', '--report', tmp_path / 'verb')
    lines = verb('fit-meta', folder, *words, '--output', tmp_path / 'other')
    other = json.loads((tmp_path / 'verb' / 'report.json').read_text())
    mine = json.loads((tmp_path / 'mine' / 'report.json').read_text())
    assert {key for key in mine if mine[key] != other[key]} == {'command'}
    assert result.chosen in lines
    served = [load_bundle(tmp_path / name).meta_classifiers for name in ('bundle', 'other')]
    for one, two in zip(*served, strict=True):
        np.testing.assert_array_equal(one.model.layers[0][0], two.model.layers[0][0])
    for wrong, sentence in (
        ({'classifier': 'forest'}, '--classifier must be one of logistic_regression, neural'),
        ({'group_by': 'folder'}, "--group-by must be one of group, image, split, got 'folder'"),
        ({'rule': 'best'}, "--rule must be one of .*, got 'best'"),
        ({'choose': 'auc'}, "--choose must be one of errors, f1, siou, got 'auc'"),
        ({'folds': 1}, '--folds must be at least 2, got 1'),
    ):
        with pytest.raises(ValueError, match=sentence):
            fit_meta(folder, bundle=small_bundle, report=tmp_path / 'none', **wrong)
    assert not (tmp_path / 'none').exists()


def test_fit_meta_says_why_there_is_no_classifier(make_segments, small_bundle, tmp_path):
    folder = make_segments(20, with_object=lambda image: False)
    result = fit_meta(folder, bundle=small_bundle, report=tmp_path / 'r', output=tmp_path / 'b')
    assert (result.bundle, result.output, result.chosen) == (None, None, '')
    assert result.problem
    assert repr(result).startswith(f'FitMetaResult(no classifier: {result.problem}')
    assert result.report_file.is_file()
    assert not (tmp_path / 'b').exists()


def test_the_notebook_of_readme_runs_as_it_stands(
    repository, small_bundle, tmp_path, monkeypatch, capsys
):
    (code,) = [
        block
        for block in re.findall(
            r'^```python\n(.*?)^```', (repository / 'README.md').read_text(), re.M | re.S
        )
        if 'meta_ood_training' in block
    ]
    shutil.copytree(small_bundle, tmp_path / 'bundles' / 'mine')
    recording.record(tmp_path / 'recorded', 12)
    (bag,) = (tmp_path / 'recorded').rglob('*.mcap')
    shutil.copy(bag, tmp_path / 'drive.mcap')
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, 'README.md', 'exec'), names)
    assert 'FitMetaResult(' in capsys.readouterr().out
    assert names['result'].report_file.is_file()
    assert names['result'].report['data']['sources'][0]['frames'] == 12


def test_evaluate(frames, small_bundle, tmp_path, verb):
    data, words = f'folder={frames}', ('--draws', '20', '--limit', '3')
    result = evaluate(
        data, bundles={'small': small_bundle}, output=tmp_path / 'mine', draws=20, limit=3
    )
    scores = result.results['folder']['small'].scores['entropy']
    assert 0 <= scores.auroc <= 1
    assert result.results['folder']['small'].images == 3
    assert repr(result) == result.table
    assert f'| {scores.auroc:.3f}' in result.table
    assert result.figures
    assert all(one.is_file() for one in result.figures)
    lines = verb('evaluate', '--dataset', data, '--bundle', small_bundle, *words, '--output',
                 tmp_path / 'verb')  # fmt: skip
    table = result.table.splitlines()
    assert lines[: len(table)] == table
    assert lines[len(table) : -1] == ['folder: all pixels but those that the labels leave void']
    stated = [
        json.loads((tmp_path / name / 'scores.json').read_text()) for name in ('mine', 'verb')
    ]
    assert stated[0].keys() == stated[1].keys()
    assert {key for key in stated[0] if stated[0][key] != stated[1][key]} == {'seconds'}
    bundle = load_bundle(small_bundle)
    alone = evaluate([data], bundles=bundle, scores='entropy', draws=0, limit=3)
    assert alone.results['folder']['small'].scores['entropy'].auroc == scores.auroc
    assert (alone.output, alone.figures) == (None, ())
    with pytest.raises(ValueError, match="--score must be one of .*, got 'mine'"):
        evaluate(data, bundles=bundle, scores='mine')
    with pytest.raises(ValueError, match="must have different titles, got 'small' twice"):
        evaluate(data, bundles=[small_bundle, small_bundle])


def test_make_overlay(tmp_path, verb):
    rng = np.random.default_rng(0)
    target = np.zeros((96, 128), np.uint8)
    target[40:60, 30:60] = 13
    for part in ('images', 'labels'):
        (tmp_path / 'frames' / part).mkdir(parents=True)
    for number in range(6):
        image = rng.integers(60, 90, (96, 128, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f'frames/images/{number}.png'), image)
        cv2.imwrite(str(tmp_path / f'frames/labels/{number}.png'), target)
    listed = [{'name': str(number), 'group': 'block'} for number in range(6)]
    (tmp_path / 'frames/manifest.json').write_text(json.dumps({'frames': listed}))
    drawn.write_ecssd(tmp_path / 'ecssd', images=8)
    frames, objects = f'folder={tmp_path / "frames"}', f'ecssd={tmp_path / "ecssd"}'
    settings = OverlaySettings(seed=3)
    result = make_overlay(
        frames, objects, tmp_path / 'mine', split='all', controls=frames, settings=settings
    )
    assert (result.frames, result.objects, result.folder) == (6, 3, tmp_path / 'mine')
    assert 0 < result.ood_share < 0.1
    assert repr(result).startswith('OverlayResult(6 frames, 3 with an OoD object, 2 with a contr')
    words = ('--frames', frames, '--objects', objects, '--controls', frames, '--split', 'all')
    verb('overlay', *words, '--seed', '3', '--output', tmp_path / 'verb')
    for path in (tmp_path / 'mine').rglob('*.*'):
        assert (
            path.read_bytes()
            == (tmp_path / 'verb' / path.relative_to(tmp_path / 'mine')).read_bytes()
        )
    assert result.manifest == json.loads((tmp_path / 'verb' / 'manifest.json').read_text())
    with pytest.raises(ValueError, match="--split must be one of train, .*, got 'half'"):
        make_overlay(frames, objects, tmp_path / 'new', split='half')
    with pytest.raises(FileExistsError, match='must be new or empty, got files in it'):
        make_overlay(frames, objects, tmp_path / 'mine')
