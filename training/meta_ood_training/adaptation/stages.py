"""
The stages of `adapt`, from frames to a bundle that is judged.

Each leaves a folder that is whole or absent; a run that is resumed goes on at the first one that
is absent, and within training at its last resume point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle, save_bundle
from meta_ood_ros.core.classes import CITYSCAPES_NAMES
from meta_ood_training.adaptation.judging import draw_errors, judge
from meta_ood_training.adaptation.old_domain import write_scenes
from meta_ood_training.adaptation.options import AdaptOptions
from meta_ood_training.adaptation.pasted import paste_unknown
from meta_ood_training.adaptation.recipe import FRAMES, make_recipe, open_recipe, SCENES, START
from meta_ood_training.adaptation.recordings import Masks, Recording
from meta_ood_training.adaptation.report import write_adaptation
from meta_ood_training.adaptation.stretches import FIT, JUDGE, META
from meta_ood_training.adaptation.taught import FACTS_FILE, write_frames
from meta_ood_training.adaptation.unknown import open_unknown, UnknownObjects
from meta_ood_training.bundles.checkpoints import open_checkpoint
from meta_ood_training.bundles.export import describe_origin
from meta_ood_training.datasets.folder import Folder
from meta_ood_training.finetuning.config import ProxyConfig
from meta_ood_training.finetuning.training_run import finetune
from meta_ood_training.meta.fitted_bundle import fit_meta
from meta_ood_training.provenance.revision import machine, source_revision
from meta_ood_training.segments.segment_folder import extract_segments

BUNDLE, ERRORS, WORK = 'bundle', 'errors.png', 'work'
_META_SHARE, _JUDGE_SHARE = 1.0, 1.0
"""Of the frames that get an object: recordings are short, and objects are what is counted."""
_JUDGE_SEED = 1000


@dataclass(frozen=True, repr=False)
class AdaptResult:
    """
    An adapted bundle and what it is worth.

    Attributes
    ----------
    bundle : Bundle or None
        The network with its filter; None where no filter could be fitted.
    output : Path
        The folder: `bundle`, `report.md` with its figure, `report.json`, and `work`.
    report : dict
        All numbers, as in report.json.
    problem : str
        Why there is no bundle; empty where there is one.
    skipped : dict of str to str
        Frame -> why it was not used.

    """

    bundle: Bundle | None
    output: Path
    report: dict[str, Any]
    problem: str
    skipped: dict[str, str]

    def __repr__(self) -> str:
        """Return what changed, or why nothing did, in a line."""
        said = f'no bundle: {self.problem}' if self.problem else self.report['summary']
        return f'AdaptResult({said}, in {self.output})'


@dataclass(frozen=True, eq=False)
class Stages:
    """The stages of one run."""

    folder: Path
    start: Bundle
    options: AdaptOptions
    command: str
    progress: bool

    @property
    def work(self) -> Path:
        return self.folder / WORK

    @property
    def keeps_old(self) -> bool:
        """Whether rendered streets show, and keep, what the network knew before."""
        return bool(self.options.scenes) and self.start.class_names == tuple(CITYSCAPES_NAMES)

    @property
    def has_frames(self) -> bool:
        """Whether an earlier run has read the recordings."""
        return (self.work / 'frames').is_dir()

    def check(self) -> None:
        """Refuse before the first frame what would be refused after the last."""
        options = self.options
        for one in options.images:
            if one.resolve() in (self.folder.resolve(), *self.folder.resolve().parents):
                raise ValueError(
                    f'output must lie outside the recordings, got {str(self.folder)!r} in '
                    f'{str(one)!r}. Choose another folder.'
                )
        with TemporaryDirectory() as folder:
            none = UnknownObjects((ProxyConfig('folder', 'objects_0'),), {}, (), (), '')
            recipe = make_recipe(self.start, options, none, 1, scenes=False)
            open_recipe(recipe, Path(folder) / 'recipe.yaml', options, {})
        if options.objects:
            self._objects()

    def read(self, recordings: Sequence[Recording], masks: Masks) -> None:
        """Read and teach the frames."""
        write_frames(
            recordings,
            masks,
            self.start,
            self.work / 'frames',
            sure=self.options.sure,
            device=self.options.device,
            progress=self.progress,
        )

    def _objects(self) -> UnknownObjects:
        return open_unknown(
            self.options.objects,
            self.work / 'rendered_objects',
            seed=self.options.seed,
            class_names=self.start.class_names,
        )

    def __call__(self) -> AdaptResult:
        options, work = self.options, self.work
        objects = self._objects()
        text = (work / 'frames' / FACTS_FILE).read_text(encoding='utf-8')
        facts: dict[str, Any] = json.loads(text)
        sets = {
            META: self._once(
                work / META,
                lambda at: paste_unknown(work / 'frames' / META, objects.meta, at,
                                         object_share=_META_SHARE, seed=options.seed),
            ),
            JUDGE: self._once(
                work / JUDGE,
                lambda at: paste_unknown(work / 'frames' / JUDGE, objects.judge, at,
                                         object_share=_JUDGE_SHARE,
                                         seed=options.seed + _JUDGE_SEED),
            ),
        }  # fmt: skip
        skipped = {
            f'{one["title"]}/{name}': why
            for one in facts['recordings']
            for name, why in one['skipped'].items()
        }
        network = self._train(objects, facts['frames'][FIT])
        bundles: dict[str, Bundle] = {'before': self.start}
        problem = ''
        for title, one in (('before, filter fitted', self.start), ('after', network)):
            fitted, why = self._filter(title, one)
            if fitted is not None:
                bundles[title] = fitted
            if title == 'after':
                problem = why
        facts |= {
            'start': self.start.model_id,
            'objects': objects.words,
            'sets': sets,
            'problem': problem,
            'command': self.command,
            'revision': source_revision(),
            'machine': machine(),
            'options': options.as_facts(),
        }
        if problem:
            report = write_adaptation(self.folder, facts, options)
            return AdaptResult(None, self.folder, report, problem, skipped)
        scored = self._judge(bundles)
        report = write_adaptation(self.folder, facts, options, **scored)
        stated = {**bundles['after'].provenance, 'adaptation': _provenance(report)}
        saved = save_bundle(replace(bundles['after'], provenance=stated), self.folder / BUNDLE)
        return AdaptResult(saved, self.folder, report, '', skipped)

    def _once(self, place: Path, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """Make a set, unless an earlier run has; return what it holds."""
        if not place.is_dir():
            make(place)
        frames = json.loads((place / 'manifest.json').read_text(encoding='utf-8'))['frames']
        return {
            'frames': len(frames),
            'objects': sum('object' in one for one in frames),
            'groups': len({one['group'] for one in frames}),
        }

    def _train(self, objects: UnknownObjects, frames: int) -> Bundle:
        """Return the starting bundle with adapted weights, without a filter."""
        place = self.work / 'network'
        (self.work / SCENES).mkdir(exist_ok=True)
        save_bundle(self.start, self.work / START)
        data = {
            **objects.data,
            START: self.work / START,
            FRAMES: self.work / 'frames' / FIT,
            **({SCENES: self.work / SCENES} if self.keeps_old else {}),
        }
        recipe = make_recipe(self.start, self.options, objects, frames, scenes=self.keeps_old)
        config = open_recipe(recipe, self.work / 'recipe.yaml', self.options, data)
        final = place / 'final.pth'
        if not final.is_file():
            trainer: dict[str, Any] = (
                {'accelerator': 'cpu'} if self.options.device == 'cpu' else {}
            )
            finetune(
                config,
                place,
                resume=(place / 'last.ckpt').is_file(),
                progress=self.progress,
                command=self.command,
                **trainer,
            )
        checkpoint = open_checkpoint(final)
        start = self.start
        return replace(
            start,
            name=self.folder.resolve().name,
            weights=checkpoint.weights,
            meta_classifiers=(),
            digest='',
            provenance={**describe_origin(checkpoint, ()), 'start': start.model_id},
            data_terms=f'{start.data_terms} Adapted to recordings of the user, without labels.',
        )

    def _filter(self, title: str, bundle: Bundle) -> tuple[Bundle | None, str]:
        """Fit the meta classifier on the stretches for it; return the bundle, or why not."""
        options, word = self.options, title.partition(',')[0]
        place, fitted = self.work / f'segments_{word}', self.work / f'bundle_{word}'
        if not place.is_dir():
            extract_segments(
                place,
                bundle=bundle,
                data=f'folder={self.work / META}',
                thresholds=options.thresholds,
                # so that the bound below counts what the bundle publishes
                core_thresholds=[
                    core for core in [bundle.core_threshold] if core > min(options.thresholds)
                ],
                device=options.device,
                progress=self.progress,
                command=self.command,
            )
        if fitted.is_dir():
            return load_bundle(fitted), ''
        result = fit_meta(
            place,
            bundle=bundle,
            only=True,
            rule='max_false',
            bound=options.false_per_frame,
            choose='siou',
            seed=options.seed,
            report=self.work / f'filter_{word}',
            output=fitted,
            progress=self.progress,
            command=self.command,
        )
        return result.bundle, result.problem

    def _judge(self, bundles: dict[str, Bundle]) -> dict[str, Any]:
        """Score all bundles on the stretches for it, and the networks on the old domain."""
        device, seed = self.options.device, self.options.seed
        shown: dict[str, Any] = {'device': device, 'seed': seed, 'progress': self.progress}
        new = Folder(self.work / JUDGE)
        judged = judge(bundles, new, **shown)
        draw_errors(
            self.folder / ERRORS, bundles['after'], new, judged['after'], device=device, count=6
        )
        networks = {title: bundles[title] for title in ('before', 'after')}
        old = judge(networks, self._old(), **shown, title='old domain') if self.keeps_old else {}
        return {'judged': judged, 'old': old}

    def _old(self) -> Folder:
        """Return rendered streets of shapes and seeds that training never draws."""
        place = self.work / 'old'
        if not place.is_dir():
            write_scenes(place, self.options.scenes)
        return Folder(place)


def _provenance(report: dict[str, Any]) -> dict[str, Any]:
    """Return what the bundle states of its recordings and its judgement."""
    names = ('start', 'summary', 'frames', 'objects', 'sure_share', 'scores')
    stated = {name: report[name] for name in names}
    stated['recordings'] = [one['title'] for one in report['recordings']]
    return stated
