"""Bundles with flipped bits, damaged files, and descriptions that say what they should not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
import random
import shutil
from tempfile import mkdtemp
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle, save_bundle
from meta_ood_ros.core.files.bundle_checks import BundleError
from meta_ood_ros.core.meta_models.boosted_trees import BoostedTrees, LEAF
from meta_ood_ros.core.pipeline import OodPipeline
import numpy as np
import yaml

from soak.bounded import run_trials
from soak.damage import damage

_FILES = ('bundle.yaml', 'network.safetensors', 'meta_classifier.safetensors')
_LONGEST_SENTENCE = 1200
_IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 10**400, 1e300, 0.5, 255, float('nan'), float('inf'), '',
    'x', '1', 'é\n', 'x' * 100_000, '../network', [], {}, [[]], ['x'] * 300, [0.5] * 3,
    [1.0, float('nan'), 0.0], {'a': {'b': 1}}, list(range(19)), [[0, 0, 0]] * 19,
)  # fmt: skip


def run(count: int, seed: int) -> list[tuple[str, str]]:
    """Load so many damaged bundles; every one that loads must give numbers."""
    return run_trials('soak.bundles', 'damaged bundles', count, seed)


def make_trial() -> Callable[[int, int], str]:
    """Return what damages the bundle of a number, loads it and tries it."""
    folder = Path(mkdtemp(prefix='soak'))
    original = load_bundle()
    shutil.copytree(Path(_default_folder()), folder / 'layers')
    save_bundle(_with_trees(original), folder / 'trees')
    OodPipeline(original)(_IMAGE)  # what it compiles once is not the bundle's

    def trial(number: int, seed: int) -> str:
        rng = random.Random(f'{seed} {number}')
        work = folder / 'work'
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(folder / ('layers', 'trees')[number // 4 % 2], work)
        kind = ('one bit', 'damage', 'description', 'damage without sums')[number % 4]
        _damage_bundle(work, kind, rng)
        try:
            bundle = load_bundle(work)
            pipeline = OodPipeline(bundle)
        except BundleError as error:
            if len(str(error)) > _LONGEST_SENTENCE or '\n' in str(error):
                raise AssertionError(f'no sentence: {str(error)[:80]!r}') from error
            return f'{kind} refused'
        if kind == 'one bit':
            raise AssertionError('a flipped bit was not seen')
        if pipeline.work_size((48, 64))[0] > 600:
            return f'{kind} loaded'  # sound, and slow
        result = pipeline(_IMAGE)
        if not (np.isfinite(result.ood_probability).all() and np.isfinite(result.entropy).all()):
            raise AssertionError('a bundle that loads gives no numbers')
        return f'{kind} loaded'

    return trial


def _with_trees(bundle: Bundle) -> Bundle:
    """Return it with boosted trees as meta classifier: each asks three times, at random."""
    classifier = bundle.meta_classifiers[0]
    rng = np.random.default_rng(0)
    count, nodes = 20, np.arange(15)
    inner = np.tile(nodes < 7, count)
    first = np.arange(count) * len(nodes)
    children = (2 * nodes[:, None] + [1, 2] + first[:, None, None]).reshape(-1, 2)
    features = rng.integers(len(classifier.metric_names), size=len(inner))
    grown = BoostedTrees(
        prior=-2.0,
        roots=first,
        features=np.where(inner, features, LEAF),
        thresholds=np.where(inner, rng.normal(size=len(inner)), 0.0),
        children=np.where(inner[:, None], children, 0),
        values=np.where(inner, 0.0, rng.normal(size=len(inner))),
    )
    trees = replace(classifier, kind='gradient_boosting', model=grown)
    return replace(bundle, meta_classifiers=(trees,))


def _default_folder() -> Path:
    from meta_ood_ros.core.bundle_files import installed_bundles

    return installed_bundles()['default']


def _damage_bundle(work: Path, kind: str, rng: random.Random) -> None:
    name = rng.choice(_FILES)
    path = work / name
    if kind == 'description':
        _change_description(work / _FILES[0], rng)
        return
    content = bytearray(path.read_bytes())
    if kind == 'one bit':
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    else:
        for _ in range(rng.choice((1, 2, 8))):
            damage(content, rng)
    path.write_bytes(bytes(content))
    if kind == 'damage without sums':
        try:
            record = yaml.safe_load((work / _FILES[0]).read_text())
            record.pop('sha256', None)
            (work / _FILES[0]).write_text(yaml.safe_dump(record, sort_keys=False))
        except (ValueError, AttributeError, yaml.YAMLError):
            return  # it is no longer a description


def _change_description(path: Path, rng: random.Random) -> None:
    """Set one or two values, deep or not, to what does not belong there; sums left out."""
    record = yaml.safe_load(path.read_text())
    record.pop('sha256', None)
    for _ in range(rng.choice((1, 1, 2))):
        owner: Any = record
        while True:
            key = rng.choice(list(owner) if isinstance(owner, dict) else range(len(owner)))
            inner = owner[key]
            if not isinstance(inner, (dict, list)) or not inner or rng.random() < 0.4:
                break
            owner = inner
        deed = rng.randrange(5)
        if deed == 0 and isinstance(owner, dict):
            del owner[key]
            if not record:
                break
        elif deed == 1 and isinstance(inner, list):
            owner[key] = inner * rng.choice((0, 2, 1000))
        else:
            owner[key] = rng.choice(_VALUES)
    path.write_text(yaml.safe_dump(record, sort_keys=False))
