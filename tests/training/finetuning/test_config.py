"""Configuration files: what is read, and what is refused with which advice."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from meta_ood_training.cli import main
from meta_ood_training.finetuning.command import _device_options
from meta_ood_training.finetuning.config import FinetuneConfig, StreetConfig
from meta_ood_training.finetuning.config_reader import ConfigError, read_config
from meta_ood_training.finetuning.data.street import open_street
import pytest
import yaml


@dataclass(frozen=True)
class Inner:
    learning_rate: float = 0.1
    steps: int = 3
    kind: Literal['a', 'b'] = 'a'
    flag: bool = False


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    several: tuple[Inner, ...] = ()
    maybe: Inner | None = None
    paths: Mapping[str, str] = field(default_factory=dict)
    free: Mapping[str, Any] = field(default_factory=dict)


def write(tmp_path, text):
    path = tmp_path / 'run.yaml'
    path.write_text(text, encoding='utf-8')
    return path


def test_nested_records_lists_and_overrides(tmp_path):
    path = write(tmp_path, 'name: x\ninner: {steps: 5}\nseveral: [{kind: b}, {flag: true}]\n')
    read = read_config(Outer, path, ['inner.learning_rate=1e-5', 'maybe.steps=7'])
    assert read == Outer('x', Inner(1e-5, 5), (Inner(kind='b'), Inner(flag=True)), Inner(steps=7))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('name: x\ninner: {learing_rate: 1.0}', "unknown key 'learing_rate'. Did you mean 'lea"),
        ('name: x\ninner: {learning_rate: 1e-5}', r'YAML reads 1e-5 as text: write 1\.0e-5'),
        ('name: x\ninner: {learning_rate: 2.5e3}', r'write 2\.5e\+3'),
        ('name: x\ninner: {steps: 1.5}', r'steps must be a int, got 1\.5 \(float\)'),
        ('name: x\ninner: {steps: true}', r'steps must be a int, got True \(bool\)'),
        ('name: x\ninner: {flag: 1}', r'flag must be a bool, got 1 \(int\)'),
        ('name: x\ninner: {kind: c}', "kind must be one of 'a', 'b', got 'c'"),
        ('name: x\nseveral: {kind: a}', 'several must be a list'),
        ('name: x\nseveral: [a]', r'several\[0\] must be a mapping'),
        ('name: x\nseveral: [{knd: a}]', r"several\[0\]: unknown key 'knd'. Did you mean 'kind'"),
        ('name: x\nmaybe: {stepz: 1}', r"maybe: unknown key 'stepz'. Did you mean 'steps'"),
        ('nome: x', "run.yaml: unknown key 'nome'. Did you mean 'name'"),
        ('name: x\ninner: {zzz: 1}', 'Known: learning_rate, steps, kind, flag.'),
        ('name: x\nmaybe: 3', r'maybe must be a mapping, got 3 \(int\)'),
        ('name: x\ninner:', r'inner must be a mapping, got None'),
        ('name: 3', r'name must be a str, got 3 \(int\)'),
        ('name: x\npaths: {a: 1}', r'paths.a must be a str, got 1 \(int\)'),
        ('name: x\npaths: [a]', r"paths must be a mapping, got \['a'\]"),
        (
            'name: x\ninner: {learning_rate: true}',
            r'inner.learning_rate must be a float, got True',
        ),
        ('name: x\ninner: {steps: 5.0}', r'inner.steps must be a int, got 5.0 \(float\)'),
        ('name: x\ninner: {steps: "5"}', r"inner.steps must be a int, got '5' \(str\)"),
        ('name: 2026-11-29', 'must hold text, numbers, .* alone, got: .* Quote what YAML takes'),
        (
            'name: x\nfree: &a {b: *a}',
            'must hold text, numbers, .* refer to nothing inside itself',
        ),
        ('inner: {}', "run.yaml: missing key 'name', which has no default. Add it"),
        ('- name', 'must hold a mapping, got list'),
        ('name: [', 'must be YAML'),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read_config(Outer, write(tmp_path, text))


def test_overrides_must_be_pairs_and_the_file_must_exist(tmp_path):
    path = write(tmp_path, 'name: x')
    with pytest.raises(ConfigError, match="must be key=value, got 'name'"):
        read_config(Outer, path, ['name'])
    path.write_bytes(b'name: \xff')
    with pytest.raises(ConfigError, match='run.yaml must be YAML, got: .*utf-8'):
        read_config(Outer, path)
    with pytest.raises(ConfigError, match='must be a YAML file, got'):
        read_config(Outer, tmp_path / 'absent.yaml')


def test_every_committed_configuration_is_read(repository):
    paths = sorted((repository / 'config').glob('finetune_*.yaml'))
    assert len(paths) >= 4
    for path in paths:
        config = read_config(FinetuneConfig, path)
        assert config.network.num_classes == (5 if 'own_classes' in path.name else 19)


def test_what_is_printed_of_a_configuration_is_read_as_the_same(repository, tmp_path, capsys):
    for path in sorted((repository / 'config').glob('finetune_*.yaml')):
        words = [
            'optimizer.learning_rate=1e-5',
            '--output',
            str(tmp_path / 'run'),
            'training.seed=7',
        ]
        assert main(['finetune', str(path), '--print-config', *words]) == 0
        printed = write(tmp_path, capsys.readouterr().out)
        expected = read_config(FinetuneConfig, path, [words[0], words[-1]])
        assert expected.optimizer.learning_rate == 1e-5
        assert read_config(FinetuneConfig, printed) == expected
        assert yaml.safe_load(printed.read_text())['training']['resume_steps'] == 50
    assert not (tmp_path / 'run').exists()


def test_overrides_may_stand_before_the_file(repository, tmp_path, capsys):
    path = tmp_path / 'lr=1.yaml'
    path.write_text((repository / 'config' / 'finetune_espnet_v2.yaml').read_text())
    printed = []
    for words in (
        [path, 'training.seed=7', 'training.epochs=2'],
        ['training.seed=7', '--print-config', path, 'training.epochs=2'],
        ['training.seed=7', 'training.epochs=2', path],
    ):
        assert main(['finetune', *map(str, words), '--print-config']) == 0
        printed.append(yaml.safe_load(capsys.readouterr().out)['training'])
    assert (printed[0]['seed'], printed[0]['epochs']) == (7, 2)
    assert printed[0] == printed[1] == printed[2]
    assert main(['finetune', 'training.seed=7']) == 2
    assert "must be a YAML file, got 'training.seed=7'" in capsys.readouterr().err


def test_the_folder_that_keeps_scenes_is_made_and_other_data_must_exist(tmp_path):
    kept = tmp_path / 'new' / 'scenes'
    source = open_street(StreetConfig('scenes', 'kept', count=1), {'kept': str(kept)}, 19)
    assert kept.is_dir()
    source.samples[0]
    assert [one.name for one in sorted(kept.iterdir())] == [
        'train_3_640x360_scene_10000_image.png',
        'train_3_640x360_scene_10000_label.png',
    ]
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigError, match='must be a folder to keep things in, got the file'):
        open_street(StreetConfig('scenes', 'kept'), {'kept': str(tmp_path / 'file')}, 19)
    with pytest.raises(ConfigError, match='data camvid must exist'):
        open_street(StreetConfig('camvid_fit', 'camvid'), {'camvid': str(tmp_path / 'no')}, 19)
    assert not (tmp_path / 'no').exists()


def test_a_device_is_one_that_training_can_use(monkeypatch):
    assert _device_options('auto') == {}
    assert _device_options('cpu') == {'accelerator': 'cpu'}
    with pytest.raises(ValueError, match='device must be auto, cpu, cuda, .*got .gpu.'):
        _device_options('gpu')
    with pytest.raises(ValueError, match='--device must be auto, cpu, cuda or cuda:N for train'):
        _device_options('xpu')
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.device_count', lambda: 4)
    assert _device_options('cuda') == {'accelerator': 'gpu'}
    assert _device_options('cuda:2') == {'accelerator': 'gpu', 'devices': [2]}
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert _device_options('cuda') == {'accelerator': 'gpu'}
    with pytest.raises(ValueError, match='--device must be cuda for several ranks, got .cuda:2'):
        _device_options('cuda:2')


def test_the_papers_numbers_stand_in_the_papers_configurations(repository):
    def numbers(name):
        config = read_config(FinetuneConfig, repository / 'config' / f'finetune_{name}.yaml')
        return (
            config.objective.ood_loss_weight,
            config.objective.normalization,
            config.training.epochs,
            config.optimizer.learning_rate,
            config.optimizer.reset_optimizer_each_epoch,
            config.augmentation.crop,
            config.mixing.proxies_per_street_image,
        )

    assert numbers('deeplabv3plus_wide_resnet38') == (0.9, 'all_pixels', 4, 1e-5, True, 480, 0.1)
    assert numbers('dual_gcn_resnet50') == (0.25, 'all_pixels', 11, 1e-5, True, 480, 0.1)
    assert not numbers('espnet_v2')[4]


def test_one_image_a_rank_in_train_mode_is_refused_with_the_reason(repository):
    path = repository / 'config' / 'finetune_deeplabv3plus_wide_resnet38.yaml'
    with pytest.raises(ConfigError, match=r'at least 2 .*batch norm after global pooling'):
        read_config(FinetuneConfig, path, ['training.batch_size=1'])
    frozen = ['training.batch_size=1', 'training.frozen_batch_norm=true']
    assert read_config(FinetuneConfig, path, frozen).training.batch_size == 1


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('objective.ood_loss_weight=90', r'ood_loss_weight must lie in \[0, 1\], got 90'),
        ('training.epochs=0', 'epochs must be at least 1, got 0'),
        ('training.average_decay=1.0', r'average_decay must lie in \[0, 1\)'),
        ('optimizer.learning_rate=0', 'learning_rate must be positive'),
        ('mixing.paste_probability=2.0', r'paste_probability must lie in \[0, 1\]'),
        (
            'mixing.paste_probability=0.0',
            'mixing.paste_probability must be above 0 where there are objects, got 0',
        ),
        (
            'mixing.control_probability=0.0',
            'mixing.control_probability must be above 0 where there are controls, got 0',
        ),
        (
            'mixing.proxies_per_street_image=0.0',
            'proxies_per_street_image must be above 0 where there are proxies, got 0',
        ),
        (
            'objects=[{layout: coco, data: coco, subset: L-20%}]',
            r'objects must have layout, data, split and known_categories alone, got .*L-20%',
        ),
        (
            'proxies=[{layout: coco, data: coco, split: all}]',
            r'must not share images, got proxies of layout coco with split: all beside',
        ),
        (
            'street=[{layout: camvid_train, data: camvid}]',
            r'must not share images, got street of layout camvid_train beside',
        ),
        (
            # a second from frames of the select block
            'street=[{layout: camvid_val, data: camvid}]',
            r'must not share images, got street of layout camvid_val beside',
        ),
        ('proxies=[{layout: ecssd', r"must be YAML, got 'proxies=\[{layout: ecssd': expected"),
    ],
)
def test_values_out_of_range_are_refused(repository, override, message):
    with pytest.raises(ConfigError, match=message):
        read_config(FinetuneConfig, repository / 'config' / 'finetune_espnet_v2.yaml', [override])
