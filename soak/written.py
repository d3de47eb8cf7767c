"""What each verb writes -> which version stands there whole, or an error that says what is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import json
from pathlib import Path
import re

from meta_ood_ros.core.backends.engine_cache import EngineCache, EngineKey
from meta_ood_ros.core.bundle_files import load_bundle, save_bundle
from meta_ood_ros.core.files.whole_folders import recover_folder
from meta_ood_training.datasets import Folder
from meta_ood_training.finetuning.loop.checkpoints import RESUME_FILE, RUN_FILES
from meta_ood_training.finetuning.loop.csv_rows import LOG_FILES, read_rows
from meta_ood_training.segments.table import read_sidecar, read_table, TABLES
import torch

from soak.tiny_data import make_bundle

Version = tuple[int | None, ...]
"""Of each thing that a verb writes: 0, 1, or None where nothing stands."""

_ENGINE_BYTES = 8_000_000
_KEY = EngineKey('a' * 64, 'tensorrt', 'any GPU', '10.0', 'fp16', (1, 3, 64, 96))


@dataclass(frozen=True)
class Writer:
    """
    Something that writes.

    Parameters
    ----------
    words : callable
        Folder and version -> the command line; or empty, and `call` is what runs.
    read : callable
        Folder -> the version that stands there; raises where none is whole.
    is_once : bool
        Writes into a new folder only, which is emptied after each success.

    """

    name: str
    read: Callable[[Path], Version]
    words: Callable[[Path, int], list[str]] | None = None
    call: Callable[[Path, int], object] | None = None
    is_once: bool = False


def _finetune(place: Path, version: int) -> list[str]:
    resume = ['--resume'] * (place / 'run' / RESUME_FILE).is_file()
    if resume:  # a killed run goes on as it was begun
        version = _read_seed(place)
    words = ['finetune', '../finetune.yaml', f'training.seed={version}', '--data']
    return [*words, 'ecssd=../ecssd', '--output', 'run', *resume]


def _read_seed(place: Path) -> int:
    config = json.loads((place / 'run' / 'config.json').read_text(encoding='utf-8'))
    return int(config['training']['seed'])


def _read_run(place: Path) -> Version:
    run = place / 'run'
    for name in RUN_FILES:
        if (run / name).exists():
            torch.load(run / name, map_location='cpu', weights_only=False)
    for name in LOG_FILES:
        read_rows(run / name)
    if (run / 'curves.png').exists():
        _check_picture(run / 'curves.png')
    if (run / 'config.json').exists():
        _read_seed(place)
    # a killed run leaves a part of what it writes: each file of it whole
    return (None,) if not (run / 'final.pth').exists() else (_read_seed(place),)


def _segments(place: Path, version: int) -> list[str]:
    scenes = f'{10 * version}:{10 * version + 2}'
    return [
        *('segments', 'rows', '--overwrite', '--bundle', '../network', '--device', 'cpu'),
        *('--scenes', scenes, '--threshold', '0.5', '0.7'),
    ]


def _read_segments(place: Path) -> Version:
    recover_folder(place / 'rows')
    if not (place / 'rows').exists():
        return (None,)
    sidecar = read_sidecar(place / 'rows')
    version = int('10:12' in sidecar['command'])
    for table in TABLES:
        rows = read_table([place / 'rows'], table)
        if rows.num_rows != sidecar['rows_of_part_0'][table]:
            raise ValueError(f'{table} holds {rows.num_rows} rows, not as its sidecar says')
    titles = [one['title'] for one in sidecar['sources']]
    names = set(read_table([place / 'rows'], 'frames')['image'].to_pylist())
    if len(names) != sum(one['frames'] for one in sidecar['sources']):
        raise ValueError(f'{sorted(names)} are not the frames of {titles}')
    return (version,)


def _fit_meta(place: Path, version: int) -> list[str]:
    return [
        *('fit-meta', '../rows', '--bundle', '../network', '--output', 'fitted'),
        '--overwrite',
        *('--report', 'report', '--only', '--folds', '2', '--seed', str(version)),
    ]


def _read_fit(place: Path) -> Version:
    recover_folder(place / 'report')
    bundle = report = None
    if (place / 'fitted').exists():
        facts = load_bundle(place / 'fitted').provenance['meta_classifier']
        bundle = facts['settings']['seed']
    if (place / 'report' / 'report.json').exists():
        said = json.loads((place / 'report' / 'report.json').read_text(encoding='utf-8'))
        text = (place / 'report' / 'report.md').read_text(encoding='utf-8')
        report = int('--seed 1' in said['command'])
        if said['command'] not in text:
            raise ValueError('report.md is of another run than report.json')
        for name in said['figures'].values():
            _check_picture(place / 'report' / name)
    return (bundle, report)


def _evaluate(place: Path, version: int) -> list[str]:
    return [
        *(
            'evaluate',
            '--overwrite',
            '--bundle',
            '../network',
            '--dataset',
            'folder=../frames',
            '--device',
            'cpu',
        ),
        *('--limit', '2', '--draws', '5', '--seed', str(version), '--output', 'scores'),
    ]


def _read_scores(place: Path) -> Version:
    recover_folder(place / 'scores')
    if not (place / 'scores').exists() or not any((place / 'scores').iterdir()):
        return (None,)
    said = json.loads((place / 'scores' / 'scores.json').read_text())
    text = (place / 'scores' / 'scores.md').read_text()
    for name in re.findall(r'\]\((.*?\.png)\)', text):
        _check_picture(place / 'scores' / name)
    return (int(said['arguments']['seed']),)


def _overlay(place: Path, version: int) -> list[str]:
    return [
        *('overlay', '--frames', 'folder=../frames', '--objects', 'ecssd=../ecssd'),
        *('--split', 'all', '--output', 'pasted', '--seed', str(version)),
    ]


def _read_overlay(place: Path) -> Version:
    if not (place / 'pasted').exists():
        return (None,)
    dataset = Folder(place / 'pasted')
    for index in range(len(dataset)):
        dataset[index]
    said = json.loads((place / 'pasted' / 'manifest.json').read_text())
    return (int(said['settings']['seed']),)


def _bundle(place: Path, version: int) -> list[str]:
    return [
        *('bundle', '--checkpoint', f'../{version}.pth', '--architecture', 'espnet_v2'),
        *(
            '--argument',
            'scale=0.5',
            '--licence',
            'none',
            '--data-terms',
            'none',
            '--name',
            f'version{version}',
        ),
        *('--output', 'made', '--overwrite'),
    ]


def _read_bundle(place: Path) -> Version:
    recover_folder(place / 'made')
    if not (place / 'made').exists():
        return (None,)
    bundle = load_bundle(place / 'made')
    bundle.build_network()
    return (int(bundle.name[-1]),)


def _save(place: Path, version: int) -> None:
    bundle = make_bundle(version)
    for _ in range(10):
        save_bundle(bundle, place / 'made')


def _store(place: Path, version: int) -> None:
    for _ in range(10):
        EngineCache(place / 'made').store(_KEY, bytes([version]) * _ENGINE_BYTES)


def _read_engine(place: Path) -> Version:
    if not (place / 'made').exists():
        return (None,)
    engine = EngineCache(place / 'made').load(_KEY)
    if engine is None:
        if (place / 'made' / _KEY.file_name).exists():
            raise ValueError('the engine is neither the old nor the new')
        return (None,)
    if engine != engine[:1] * _ENGINE_BYTES:
        raise ValueError('the engine is not whole')
    return (engine[0],)


def _check_picture(path: Path) -> None:
    content = path.read_bytes()
    if not (content.startswith(b'\x89PNG') and content.endswith(b'IEND\xaeB`\x82')):
        raise ValueError(f'{path.name} is no whole picture')


WRITERS = (
    Writer('save_bundle', _read_bundle, call=_save),
    Writer('engine cache', _read_engine, call=_store),
    Writer('bundle', _read_bundle, _bundle),
    Writer('segments', _read_segments, _segments),
    Writer('fit-meta', _read_fit, _fit_meta),
    Writer('evaluate', _read_scores, _evaluate),
    Writer('overlay', _read_overlay, _overlay, is_once=True),
    Writer('finetune', _read_run, _finetune, is_once=True),
)
