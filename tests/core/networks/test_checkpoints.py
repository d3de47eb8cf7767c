"""Reading foreign weight files: what is accepted, and the sentence for what is not."""

import os
from pathlib import Path
import pickle

from meta_ood_ros.core.networks import load_checkpoint, load_weights
import numpy as np
import pytest
from safetensors.torch import save_file
import torch
from torch import nn


def _network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def _equal(first, second) -> bool:
    return list(first) == list(second) and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize('prefix', ['', 'module.'])
@pytest.mark.parametrize('is_wrapped', [False, True])
@pytest.mark.parametrize('is_legacy', [False, True])
def test_bare_and_wrapped_state_dicts_are_read(tmp_path, prefix, is_wrapped, is_legacy):
    weights = _network().state_dict()
    record = {prefix + name: value for name, value in weights.items()}
    if is_wrapped:
        # the entries of NVIDIA's file; its score is a numpy number
        record = {'state_dict': record, 'epoch': 7, 'mean_iu': np.float64(0.8), 'command': 'x'}
    torch.save(record, tmp_path / 'weights.pth', _use_new_zipfile_serialization=not is_legacy)
    assert _equal(load_checkpoint(tmp_path / 'weights.pth'), weights)


def test_score_saved_under_numpy_1_is_read(tmp_path):
    weights = _network().state_dict()
    path = tmp_path / 'weights.pth'
    record = {'state_dict': weights, 'mean_iu': np.float64(0.8)}
    torch.save(record, path, _use_new_zipfile_serialization=False)
    # the two spellings differ in length; this protocol separates them by line breaks
    path.write_bytes(path.read_bytes().replace(b'cnumpy._core.mul', b'cnumpy.core.mul'))
    assert b'cnumpy.core.multiarray\nscalar' in path.read_bytes()
    assert _equal(load_checkpoint(path), weights)


def test_a_prefix_on_some_names_only_is_a_name(tmp_path):
    torch.save({'module.a': torch.ones(1), 'b': torch.ones(1)}, tmp_path / 'weights.pth')
    assert list(load_checkpoint(tmp_path / 'weights.pth')) == ['module.a', 'b']


def test_arrays_of_numpy_are_read(tmp_path):
    arrays = {'000_weight': np.arange(6.0).reshape(2, 3), '000_bias': np.ones(2, np.float16)}
    np.savez(tmp_path / 'weights.npz', **arrays)
    weights = load_checkpoint(tmp_path / 'weights.npz')
    assert list(weights) == list(arrays)
    assert all(value.dtype == torch.float32 for value in weights.values())
    assert torch.equal(weights['000_weight'], torch.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    ('array', 'found'),
    [
        (
            np.ones(3, np.int8),
            r'a in .*weights\.npz has the type int8 and the shape \(3,\)\. Save',
        ),
        (np.array(['x']), r'has the type <U1'),
        (np.ones((0, 3)), r'has the type float64 and the shape \(0, 3\)'),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, found):
    np.savez(tmp_path / 'weights.npz', a=array)
    with pytest.raises(ValueError, match=r'must hold floating point arrays with entries, but .*'):
        load_checkpoint(tmp_path / 'weights.npz')
    with pytest.raises(ValueError, match=found):
        load_checkpoint(tmp_path / 'weights.npz')


def test_archive_without_arrays_is_refused(tmp_path):
    np.savez(tmp_path / 'weights.npz')
    with pytest.raises(ValueError, match=r'must map names to tensors.*an archive without entries'):
        load_checkpoint(tmp_path / 'weights.npz')


def test_damaged_or_foreign_archive_is_refused(tmp_path):
    path = tmp_path / 'weights.npz'
    np.savez(path, a=np.random.default_rng(0).standard_normal(500))
    whole = path.read_bytes()
    spoiled = whole[:2000] + bytes(100) + whole[2100:]
    with (tmp_path / 'bare').open('wb') as file:
        np.save(file, np.ones(3))
    bare = (tmp_path / 'bare').read_bytes()
    for content in (b'', b'version https://git-lfs', whole[:1000], spoiled, bare):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r'written by numpy\.savez, but .* Download it again'):
            load_checkpoint(path)


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_code_in_a_file_is_not_executed(tmp_path):
    for name, save in (('torch', torch.save), ('pickle', _pickle)):
        save({'state_dict': _Bomb(tmp_path / 'exploded')}, tmp_path / name)
        with pytest.raises(ValueError, match='must hold tensors and plain values only'):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / 'exploded').exists()


def test_code_in_an_archive_is_not_executed(tmp_path):
    bomb = np.array([_Bomb(tmp_path / 'exploded')], dtype=object)
    np.savez(tmp_path / 'weights.npz', a=bomb)
    with pytest.raises(ValueError, match=r'written by numpy\.savez, but .*allow_pickle=False'):
        load_checkpoint(tmp_path / 'weights.npz')
    assert not (tmp_path / 'exploded').exists()


def _pickle(value, path):
    path.write_bytes(pickle.dumps(value, protocol=2))


def test_reading_leaves_the_list_of_trusted_names_alone(tmp_path):
    before = set(torch.serialization.get_safe_globals())  # torch gives them in no fixed order
    torch.save({'a': torch.ones(1)}, tmp_path / 'weights.pth')
    load_checkpoint(tmp_path / 'weights.pth')
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize('share', [0.0, 0.3, 0.9])
def test_cut_file_is_refused(tmp_path, share):
    path = tmp_path / 'weights.pth'
    torch.save(_network().state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r'cannot be read so: .+ Download it again'):
        load_checkpoint(path)


def test_text_is_refused(tmp_path):
    (tmp_path / 'weights.pth').write_text('version https://git-lfs.github.com/spec/v1\n')
    with pytest.raises(ValueError, match='must hold tensors and plain values only'):
        load_checkpoint(tmp_path / 'weights.pth')


def test_missing_file_is_named(tmp_path):
    match = (
        r'must be a file written by torch.save or numpy.savez, but .*nothing.pth does not exist'
    )
    with pytest.raises(FileNotFoundError, match=match):
        load_checkpoint(tmp_path / 'nothing.pth')
    with pytest.raises(FileNotFoundError, match='or is not a file'):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ('record', 'found'),
    [
        ([torch.ones(1)], 'a list without entries'),
        ({}, 'a dict without entries'),
        ({'epoch': 3}, "a int at 'epoch'"),
        ({3: torch.ones(1)}, 'a Tensor at 3'),
        ({'state_dict': {'a': 'b'}}, "a str at 'a'"),
    ],
)
def test_other_records_are_refused(tmp_path, record, found):
    torch.save(record, tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match=f'must map names to tensors.*holds {found}'):
        load_checkpoint(tmp_path / 'weights.pth')


def test_weights_are_copied():
    source, target = _network(), _network()
    load_weights(target, source.state_dict(), source='test')
    assert _equal(target.state_dict(), source.state_dict())
    source[0].weight.data.zero_()
    assert target[0].weight.any()


def test_only_the_batch_counter_may_be_missing():
    weights = _network().state_dict()
    counted = {name: value for name, value in weights.items() if not name.endswith('tracked')}
    network = _network()
    load_weights(network, counted, source='old file')
    assert torch.equal(network[0].weight, weights['0.weight'])
    del counted['1.running_mean']
    with pytest.raises(ValueError, match=r'old file lacks 1\.running_mean and has none that'):
        load_weights(network, counted, source='old file')


def test_foreign_architecture_is_named_and_nothing_is_copied():
    network = _network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    foreign = {f'head.{i}': torch.ones(1) for i in range(5)} | {'0.weight': before['0.weight'] + 1}
    match = (
        r'must have the 7 names of Sequential, but a\.pth lacks 0\.bias, 1\.weight, 1\.bias and 2 '
        r'more and has head\.0, head\.1, head\.2 and 2 more that .* Name the architecture'
    )
    with pytest.raises(ValueError, match=match):
        load_weights(network, foreign, source='a.pth')
    assert _equal(network.state_dict(), before)


def test_other_shape_is_refused_and_nothing_is_copied():
    network = _network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    weights = {name: value + 1 for name, value in before.items()} | {'1.bias': torch.ones(5)}
    match = r'1\.bias of Sequential must have the shape \(4,\), but a\.pth has \(5,\)\. Build the'
    with pytest.raises(ValueError, match=match):
        load_weights(network, weights, source='a.pth')
    assert _equal(network.state_dict(), before)


def test_network_of_a_bundle_is_a_checkpoint(tmp_path):
    weights = {'a': torch.arange(6, dtype=torch.float16).reshape(2, 3)}
    save_file(weights, tmp_path / 'network.safetensors')
    assert torch.equal(load_checkpoint(tmp_path / 'network.safetensors')['a'], weights['a'])
    whole = (tmp_path / 'network.safetensors').read_bytes()
    (tmp_path / 'network.safetensors').write_bytes(whole[:-4])
    with pytest.raises(ValueError, match='must be a safetensors file, but .* cannot be read so'):
        load_checkpoint(tmp_path / 'network.safetensors')
