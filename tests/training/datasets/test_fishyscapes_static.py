"""Fishyscapes Static as released: labels, and differences to frames of Cityscapes."""

import io
from pathlib import Path
import pickle
import zipfile

from meta_ood_training.datasets import Fishyscapes, OOD, open_dataset
import numpy as np
from PIL import Image
import pytest

FRAME = 'frankfurt_000001_046504'


def draw(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6), value, np.uint8)).save(path)


def draw_static(folder, number='0000', *, frame=FRAME, **arrays):
    """Write a label and the difference to a frame as Fishyscapes releases Static."""
    draw(folder / f'{number}_{frame}_labels.png', 1)
    np.savez_compressed(folder / f'{number}_{frame}_rgb.npz', **arrays)


@pytest.mark.parametrize('dtype', ['int8', 'int16', 'int64', 'float32'])
@pytest.mark.parametrize('frames', ['set', 'beside'])
def test_differences_of_fishyscapes_static_are_added_to_frames(tmp_path, frames, dtype):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    place = tmp_path / ('Static/' if frames == 'set' else '') / 'leftImg8bit/val/frankfurt'
    place.mkdir(parents=True)
    Image.fromarray(image).save(place / f'{FRAME}_leftImg8bit.png')
    Image.fromarray(image).save(place / 'frankfurt_000001_000000_leftImg8bit.png')
    differences = rng.integers(-128, 128, (2, 4, 6, 3)).astype(dtype)
    for number, one in enumerate(differences):  # two objects in one frame
        draw_static(tmp_path / 'Static', f'{number:04}', rgb=one)
    dataset = open_dataset('fishyscapes_static', tmp_path)
    assert dataset.names == (f'0000_{FRAME}', f'0001_{FRAME}')
    assert dataset.groups == (FRAME, FRAME)
    for sample, difference in zip(dataset, differences.astype(int), strict=True):
        sums = zip(image.ravel().tolist(), difference.ravel().tolist(), strict=True)
        expected = [max(0, min(255, before + added)) for before, added in sums]
        assert sample.image.ravel().tolist() == expected
        assert sample.image.dtype == np.uint8
        assert (sample.target == OOD).all()
    assert {0, 255} <= set(np.unique(dataset[0].image))  # both ends were cut


def test_what_is_missing_of_fishyscapes_static_is_named(tmp_path):
    static = tmp_path / 'Static'
    zeros = np.zeros((4, 6, 3), np.int16)
    other = 'munster_000002_000019'
    draw_static(static, rgb=zeros)
    draw_static(static, '0001', frame=other, rgb=zeros)
    with pytest.raises(
        FileNotFoundError, match=r'nor frames of Cityscapes in .* of Cityscapes be'
    ):
        Fishyscapes(static)
    draw(static / f'leftImg8bit/val/frankfurt/{FRAME}_leftImg8bit.png', 9)
    with pytest.raises(FileNotFoundError, match=f'got 1 without: 0001_{other}. .*of Cityscapes'):
        Fishyscapes(static)
    draw(static / f'leftImg8bit/val/munster/{other}_leftImg8bit.png', 9)
    assert len(Fishyscapes(static)) == 2
    (static / f'0001_{other}_rgb.npz').rename(static / f'0002_{other}_rgb.npz')
    with pytest.raises(FileNotFoundError, match=rf'one difference .*rgb.npz. .*: 0001_{other}'):
        Fishyscapes(static)
    draw_static(static, '0001', frame=other, rgb=zeros)
    with pytest.raises(FileNotFoundError, match=f'label per difference .*: 0002_{other}_rgb.npz'):
        Fishyscapes(static)


class Mischief:
    """Pickled, it is a call that leaves a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_damaged_differences_are_refused_and_never_executed(tmp_path):
    draw(tmp_path / f'leftImg8bit/val/frankfurt/{FRAME}_leftImg8bit.png', 9)
    zeros = np.zeros((4, 6, 3), np.int16)
    draw_static(tmp_path, rgb=zeros)
    path = tmp_path / f'0000_{FRAME}_rgb.npz'
    whole = path.read_bytes()
    trace = tmp_path / 'trace'
    lying = io.BytesIO()  # a header of 10 TB before 100 bytes
    np.lib.format.write_array_header_1_0(
        lying, {'descr': '<i2', 'fortran_order': False, 'shape': (10**6, 10**6, 5)}
    )
    far = np.zeros((1000, 1000, 3), np.int16)
    with_nan = np.full((4, 6, 3), np.nan, np.float32)
    for arrays, reason in (
        ({'rgb': np.array([Mischief(trace)])}, 'Object arrays cannot be loaded'),
        ({'other': zeros}, 'rgb.npy'),
        ({'rgb': zeros[:2]}, r'\(2, 6, 3\) int16'),
        ({'rgb': zeros > 0}, r'\(4, 6, 3\) bool'),
        ({'rgb': with_nan}, 'not finite'),
        ({'rgb': far}, 'an array of 6000128 bytes'),
    ):
        draw_static(tmp_path, **arrays)
        with pytest.raises(ValueError, match=rf'rgb.npz must hold numbers rgb .*got: .*{reason}'):
            Fishyscapes(tmp_path)[0]
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('rgb.npy', lying.getvalue() + bytes(100))
    damaged = [path.read_bytes(), b'', whole[:90], pickle.dumps(Mischief(trace))]
    at = whole.index(b'rgb.npy') + 60
    damaged.append(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(ValueError, match='Unpack the data set again'):
            Fishyscapes(tmp_path)[0]
    assert not trace.exists()
    path.write_bytes(whole)
    np.testing.assert_array_equal(Fishyscapes(tmp_path)[0].image, 9)
