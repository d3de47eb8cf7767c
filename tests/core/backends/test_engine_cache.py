"""Engines on disk: found again if nothing has changed, built again if anything has."""

from dataclasses import replace
import json
import logging
from pathlib import Path

from meta_ood_ros.core.backends.engine_cache import (
    default_folder,
    EngineCache,
    EngineKey,
    hash_network,
)
import pytest
import torch
from torch import nn

KEY = EngineKey('a' * 64, 'Orin, compute capability 8.7', '10.3.0', 'fp16', (1, 3, 48, 64))


def test_engine_is_found_again(tmp_path):
    EngineCache(tmp_path / 'new' / 'folder').store(KEY, b'engine')
    assert EngineCache(str(tmp_path / 'new' / 'folder')).load(KEY) == b'engine'


def test_engine_built_as_one_user_is_read_as_another(tmp_path):
    EngineCache(tmp_path).store(KEY, b'engine')
    files = [path for path in tmp_path.rglob('*') if path.is_file()]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o644]


def test_nothing_stored_is_nothing_found(tmp_path, caplog):
    assert EngineCache(tmp_path).load(KEY) is None
    assert caplog.records == []


@pytest.mark.parametrize(
    'change',
    [
        {'gpu': 'Orin Nano, compute capability 8.7'},
        {'tensorrt': '10.4.0'},
        {'network': 'a' * 63 + 'b'},  # the first digits alone are equal
    ],
)
def test_engine_for_something_else_is_not_used(tmp_path, caplog, change):
    cache = EngineCache(tmp_path)
    cache.store(KEY, b'engine')
    assert cache.load(replace(KEY, **change)) is None
    assert f'was built for other {next(iter(change))} and is built again' in caplog.text
    cache.store(replace(KEY, **change), b'newer')
    assert cache.load(replace(KEY, **change)) == b'newer'
    assert cache.load(KEY) is None


def test_sizes_and_precisions_live_side_by_side(tmp_path):
    cache = EngineCache(tmp_path)
    keys = [
        KEY,
        replace(KEY, precision='fp32'),
        replace(KEY, shape=(2, 3, 48, 64)),
        replace(KEY, shape=(1, 3, 64, 48)),
        replace(KEY, network='b' * 64),
    ]
    for i, key in enumerate(keys):
        cache.store(key, bytes([i]))
    assert [cache.load(key) for key in keys] == [bytes([i]) for i in range(len(keys))]


def test_changed_engine_file_is_not_used(tmp_path, caplog):
    cache = EngineCache(tmp_path)
    cache.store(KEY, b'engine')
    content = (tmp_path / KEY.file_name).read_bytes()
    (tmp_path / KEY.file_name).write_bytes(content[:-1])
    assert cache.load(KEY) is None
    assert 'was built for other content' in caplog.text


@pytest.mark.parametrize('note', [b'', b'{', b'\xff\xfe', b'[]', b'engine of an earlier version'])
def test_damaged_note_is_not_used(tmp_path, caplog, note):
    cache = EngineCache(tmp_path)
    cache.store(KEY, b'engine')
    (tmp_path / KEY.file_name).write_bytes(note + b'\nengine')
    assert cache.load(KEY) is None
    assert 'cannot be read' in caplog.text


def test_note_says_what_the_engine_is_for(tmp_path):
    EngineCache(tmp_path).store(KEY, b'engine')
    (path,) = tmp_path.iterdir()
    content = json.loads(path.read_bytes().splitlines()[0])
    assert content['gpu'] == KEY.gpu
    assert content['shape'] == [1, 3, 48, 64]


def test_unwritable_folder_is_warned_about_and_survived(tmp_path, caplog):
    (tmp_path / 'file').write_text('no folder')
    cache = EngineCache(tmp_path / 'file')
    with caplog.at_level(logging.WARNING):
        cache.store(KEY, b'engine')
    assert 'it will be built at every start. Set engine_cache to a folder' in caplog.text
    assert cache.load(KEY) is None


def test_power_loss_while_writing_leaves_the_old_engine(tmp_path, monkeypatch):
    cache = EngineCache(tmp_path)
    cache.store(KEY, b'engine')

    def lose_power(self, target):
        raise OSError(5, 'Input/output error')

    monkeypatch.setattr(Path, 'replace', lose_power)
    cache.store(KEY, b'half an eng')
    assert cache.load(KEY) == b'engine'
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ['.engine']


def test_default_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert default_folder() == tmp_path / 'meta_ood'
    assert EngineCache().folder == tmp_path / 'meta_ood'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    assert default_folder() == tmp_path / 'home' / '.cache' / 'meta_ood'


def _network(dilation: int = 1) -> nn.Module:
    conv = nn.Conv2d(3, 4, 3, padding=dilation, dilation=dilation)
    nn.init.ones_(conv.weight)
    nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, nn.BatchNorm2d(4)).eval()


def test_hash_tells_weights_statistics_and_layers_apart():
    reference = hash_network(_network())
    assert reference == hash_network(_network())
    assert len(reference) == 64
    weights, statistics = _network(), _network()
    weights[0].weight.data[0, 0, 0, 0] += 1e-6
    statistics[1].running_mean += 1e-6
    others = [weights, statistics, _network(dilation=2), _network().to(torch.bfloat16)]
    assert len({reference, *map(hash_network, others)}) == 5
