"""Files for public benchmarks, read back byte by byte and as the benchmarks read them."""

import ast
import sys
import zlib

import cv2
import h5py
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_training import predict
from meta_ood_training.cli import main
from meta_ood_training.prediction.benchmark_files import open_benchmark
import numpy as np
import pytest

SIZE = (72, 104)
NAMES = ('0000_frankfurt_000000', '0001_frankfurt_000019', '12')


@pytest.fixture
def street(tmp_path):
    """Write three pictures named as Fishyscapes does."""
    rng = np.random.default_rng(0)
    (tmp_path / 'street').mkdir()
    for name in NAMES:
        image = cv2.GaussianBlur(rng.integers(0, 255, (*SIZE, 3)).astype(np.uint8), (0, 0), 2)
        cv2.imwrite(str(tmp_path / f'street/{name}.png'), image)
    return tmp_path / 'street'


def expected(bundle, folder, name):
    """Return entropy and classes of an image at its size."""
    pipeline = OodPipeline(bundle, backend='eager')
    image = cv2.cvtColor(cv2.imread(str(folder / f'{name}.png')), cv2.COLOR_BGR2RGB)
    view = pipeline(image).to_image_size()
    return view.entropy, view.semantic


def parse_npy(path):
    """Read an .npy of version 1 by the words of its specification."""
    content = path.read_bytes()
    assert content[:8] == b'\x93NUMPY\x01\x00'
    length = int.from_bytes(content[8:10], 'little')
    header = ast.literal_eval(content[10 : 10 + length].decode('latin1'))
    assert header['fortran_order'] is False
    return np.frombuffer(content[10 + length :], header['descr']).reshape(header['shape'])


def parse_hdf5(path):
    """Inflate the chunks of `value` where they lie in the file, without HDF5's own filters."""
    content = path.read_bytes()
    assert content[:8] == b'\x89HDF\r\n\x1a\n'
    with h5py.File(path, 'r') as file:
        assert list(file) == ['value']
        value = file['value']
        assert (value.compression, value.shuffle, value.dtype) == ('gzip', False, np.float16)
        whole = np.zeros(value.shape, '<f2')
        for number in range(value.id.get_num_chunks()):
            chunk = value.id.get_chunk_info(number)
            data = zlib.decompress(content[chunk.byte_offset : chunk.byte_offset + chunk.size])
            piece = np.frombuffer(data, '<f2').reshape(value.chunks)
            place = tuple(
                slice(start, min(start + size, end))
                for start, size, end in zip(
                    chunk.chunk_offset, value.chunks, value.shape, strict=True
                )
            )
            whole[place] = piece[tuple(slice(0, one.stop - one.start) for one in place)]
        np.testing.assert_array_equal(whole, value[:])  # as the benchmark reads it
    return whole


def options(bundle, **more):
    return {'bundle': bundle, 'device': 'cpu', 'backend': 'eager', 'pictures': (), **more}


def test_fishyscapes_gets_scores_and_classes_of_each_pixel(street, small_bundle, tmp_path):
    predict(street, tmp_path / 'out', **options(small_bundle, benchmark='fishyscapes'))
    folder = tmp_path / 'out/fishyscapes'
    assert sorted(one.name for one in folder.iterdir()) == [
        f'{number}_{kind}.npy'
        for number in ('0000', '0001', '12')
        for kind in ('anomaly', 'segmentation')
    ]
    for name in NAMES:
        number = name.partition('_')[0]
        entropy, semantic = expected(small_bundle, street, name)
        anomaly = parse_npy(folder / f'{number}_anomaly.npy')
        segmentation = parse_npy(folder / f'{number}_segmentation.npy')
        assert (anomaly.dtype, anomaly.shape, segmentation.shape) == (np.float32, SIZE, SIZE)
        assert segmentation.max() < 20
        np.testing.assert_allclose(anomaly, entropy, atol=1e-6)
        np.testing.assert_array_equal(segmentation, semantic)


def test_segment_me_if_you_can_gets_hdf5(street, small_bundle, tmp_path):
    predict(
        street,
        tmp_path / 'out',
        **options(small_bundle, benchmark='segment_me_if_you_can:AnomalyTrack-all'),
    )
    folder = tmp_path / 'out/anomaly_p/small/AnomalyTrack-all'
    assert sorted(one.stem for one in folder.glob('*.hdf5')) == sorted(NAMES)
    for name in NAMES:
        entropy, _ = expected(small_bundle, street, name)
        value = parse_hdf5(folder / f'{name}.hdf5')
        assert value.shape == SIZE
        np.testing.assert_allclose(value.astype(np.float32), entropy, atol=5e-4)


def test_an_image_that_the_benchmark_cannot_name_is_skipped(
    street, small_bundle, tmp_path, capsys
):
    (street / '12.png').rename(street / 'frankfurt.png')
    (street / 'below').mkdir()
    (street / '0001_frankfurt_000019.png').rename(street / 'below/0001_x.png')
    words = ['predict', str(street), '--bundle', str(small_bundle), '--backend', 'eager']
    plain = [*words, '--pictures', '--output', str(tmp_path / 'out')]
    assert main([*plain, '--benchmark', 'fishyscapes']) == 3
    assert '2 frames were skipped' in capsys.readouterr().err
    said = (tmp_path / 'out/predict.json').read_text()
    assert "got 'frankfurt', which has no number in front" in said
    assert len(list((tmp_path / 'out/fishyscapes').iterdir())) == 2
    other = 'segment_me_if_you_can:AnomalyTrack-all'
    assert main([*plain, '--benchmark', other, '--resume']) == 2
    assert (
        "--resume must go on as the run was begun, with benchmark 'fi" in capsys.readouterr().err
    )
    again = [*words, '--pictures', '--output', str(tmp_path / 'more'), '--benchmark', other]
    assert main(again) == 3
    said = (tmp_path / 'more/predict.json').read_text()
    assert "has its images in one folder, got 'below/0001_x'" in said


@pytest.mark.parametrize(
    'text',
    ['fishy', 'fishyscapes:x', 'segment_me_if_you_can', 'segment_me_if_you_can:../x',
     'segment_me_if_you_can:..'],
)  # fmt: skip
def test_other_benchmarks_are_refused(text):
    with pytest.raises(ValueError, match=r'benchmark must be fishyscapes or segment_me_if_you_c'):
        open_benchmark(text, method='x', num_classes=19)


def test_two_images_of_one_number_are_not_written_over_each_other():
    complain = open_benchmark('fishyscapes', method='x', num_classes=19).complain
    assert [complain(name) for name in ('7_a', '8_a', '7_a')] == ['', '', '']
    assert complain('7_b') == "fishyscapes has '7_a' under the number of '7_b'."


def test_classes_that_fishyscapes_does_not_have_are_refused():
    with pytest.raises(ValueError, match=r'takes the 19 classes of Cityscapes, got a network of'):
        open_benchmark('fishyscapes', method='x', num_classes=21)


def test_what_is_not_installed_is_named(street, small_bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'h5py', None)
    words = [
        'predict',
        str(street),
        '--bundle',
        str(small_bundle),
        '--output',
        str(tmp_path / 'o'),
    ]
    assert main([*words, '--benchmark', 'segment_me_if_you_can:AnomalyTrack-all']) == 2
    assert 'predict needs h5py, got no such module. Run `pip install h5py`' in (
        capsys.readouterr().err
    )
