"""Bundles are described, tried, made of ONNX files and written as such."""

import importlib.util

from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_training.bundles.onnx_files import export_onnx, import_onnx
from meta_ood_training.cli import main
import pytest

HAS_ONNX = importlib.util.find_spec('onnx') is not None
CLASSES = 'classes: [{name: road, color: [1, 2, 3]}, {name: building}, {name: sky}]\n'
TERMS = ('--licence', 'MIT', '--data-terms', 'CC0')
MEAN_STD = ('--mean', '0.5', '0.4', '0.3', '--std', '0.2', '0.2', '0.2')


def test_the_installed_bundles_are_listed(capsys):
    assert main(['bundle', 'list']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith('default: default@') and '19 classes' in line for line in lines)


def test_a_bundle_is_described(small_bundle, capsys):
    assert main(['bundle', 'info', str(small_bundle)]) == 0
    said = ' '.join(capsys.readouterr().out.split())
    for fact in (
        f'bundle: {load_bundle(small_bundle).model_id}',
        'classes: 3: road, building, sky',
        'entropy threshold: 0.7',
        'meta classifiers: none: every segment is accepted',
        'licence of weights: not stated',
    ):
        assert fact in said


def test_a_bundle_is_tried_and_a_damaged_one_said_to_be_so(small_bundle, tmp_path, capsys):
    (tmp_path / 'broken').mkdir()
    for file in small_bundle.iterdir():
        content = bytearray(file.read_bytes())
        if file.name == 'network.safetensors':
            content[-1] ^= 1
        (tmp_path / 'broken' / file.name).write_bytes(bytes(content))
    words = ['--device', 'cpu', '--backend', 'eager']
    assert main(['bundle', 'verify', str(small_bundle), *words]) == 0
    assert f'{small_bundle}: OK, small@' in capsys.readouterr().out
    broken = str(tmp_path / 'broken')
    assert main(['bundle', 'verify', broken, str(small_bundle), *words]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f'{broken}: ')
    assert 'SHA-256' in said.err
    assert 'OK' in said.out


@pytest.mark.skipif(not HAS_ONNX, reason='needs the package onnx')
def test_a_network_goes_out_as_onnx_and_comes_back_as_a_bundle(small_bundle, tmp_path, capsys):
    file, classes = tmp_path / 'own.onnx', tmp_path / 'classes.yaml'
    out = ['bundle', 'export-onnx', str(small_bundle), '--output', str(file), '--size']
    assert main([*out, '100x96']) == 2
    assert '--size must be HEIGHTxWIDTH in multiples of 16 px' in capsys.readouterr().err
    assert main([*out, '64x96']) == 0
    assert 'entropy differs from PyTorch by at most' in capsys.readouterr().out
    assert main([*out, '64x96']) == 2
    assert '--output must be new' in capsys.readouterr().err
    classes.write_text(CLASSES)
    words = ['bundle', 'import-onnx', str(file), '--classes', str(classes), *MEAN_STD]
    words += ['--stride', '16', '--output', str(tmp_path / 'mine')]
    assert main(words) == 2
    assert 'Add --licence TEXT' in capsys.readouterr().err
    assert main([*words, *TERMS]) == 0
    assert capsys.readouterr().out.startswith('mine@')
    bundle = load_bundle(tmp_path / 'mine')
    assert bundle.class_names == ('road', 'building', 'sky')
    assert bundle.class_colors[0] == (1, 2, 3)
    assert bundle.input_mean == (0.5, 0.4, 0.3)
    assert bundle.data_terms == 'CC0'
    assert export_onnx(bundle, tmp_path / 'again.onnx') == 0.0
    assert (tmp_path / 'again.onnx').read_bytes() == file.read_bytes()


def test_wrong_imports_are_refused(tmp_path):
    (tmp_path / 'classes.yaml').write_text(CLASSES)
    (tmp_path / 'own.onnx').write_bytes(b'no network')
    options = {'classes': tmp_path / 'classes.yaml', 'std': (1, 1, 1)}
    options |= {'licence': 'MIT', 'data_terms': 'CC0'}
    with pytest.raises(ValueError, match='an ONNX network must be a file, got .*none.onnx'):
        import_onnx(tmp_path / 'none.onnx', tmp_path / 'x', mean=(0, 0, 0), **options)
    with pytest.raises(ValueError, match='--mean must be three numbers, of red, green and blue'):
        import_onnx(tmp_path / 'own.onnx', tmp_path / 'x', mean=(0, 0), **options)
    with pytest.raises(ValueError, match='one self-contained .onnx file, got 10 bytes'):
        import_onnx(tmp_path / 'own.onnx', tmp_path / 'x', mean=(0, 0, 0), **options)
    assert not (tmp_path / 'x').exists()
