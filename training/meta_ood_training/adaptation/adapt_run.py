"""
`adapt`: recordings without labels -> a bundle for their domain, judged on what it never saw.

Each stage leaves a folder that is whole or absent; a run that is resumed goes on at the first one
that is absent, and within training at its last resume point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
import json
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle, ONNX_ARCHITECTURE
from meta_ood_ros.core.bundle_files import load_bundle, save_bundle
from meta_ood_ros.core.classes import CITYSCAPES_NAMES
from meta_ood_ros.core.files.whole_files import write_whole
from meta_ood_training.adaptation.judging import draw_errors, judge
from meta_ood_training.adaptation.old_domain import write_scenes
from meta_ood_training.adaptation.options import AdaptOptions
from meta_ood_training.adaptation.pasted import paste_unknown
from meta_ood_training.adaptation.recipe import FRAMES, make_recipe, open_recipe, SCENES, START
from meta_ood_training.adaptation.recordings import Masks, open_recordings
from meta_ood_training.adaptation.report import write_adaptation
from meta_ood_training.adaptation.stretches import FIT, JUDGE, META
from meta_ood_training.adaptation.taught import FACTS_FILE, write_frames
from meta_ood_training.adaptation.unknown import open_unknown, UnknownObjects
from meta_ood_training.bundles.checkpoints import open_checkpoint
from meta_ood_training.bundles.export import describe_origin
from meta_ood_training.datasets.folder import Folder
from meta_ood_training.finetuning.training_run import finetune
from meta_ood_training.meta.fitted_bundle import fit_meta
from meta_ood_training.output_places import hold_folder
from meta_ood_training.provenance.revision import machine, source_revision
from meta_ood_training.segments.segment_folder import extract_segments

STATE_FILE = 'adapt.json'
BUNDLE, ERRORS, WORK = 'bundle', 'errors.png', 'work'
_META_SHARE, _JUDGE_SHARE = 1.0, 1.0
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


def adapt(
    output: str | Path,
    *,
    bundle: Bundle | str | Path | None = None,
    options: AdaptOptions | None = None,
    resume: bool = False,
    progress: bool = False,
    command: str = '',
    **chosen: Any,
) -> AdaptResult:
    """
    Adapt a bundle to recordings of a new domain that nobody has labelled.

    Parameters
    ----------
    output : str or Path
        Folder to write, new or empty unless an earlier run is resumed; it names the bundle.
    bundle : Bundle, str or Path, optional
        What to start from, which also teaches; the installed default where absent.
    options : AdaptOptions, optional
        Recordings, masks, objects, and how much work to spend.
    resume : bool
        Go on with an earlier run in `output`.
    progress : bool
        Whether bars are shown.
    command : str
        What bundle and report state as the command that made them.
    **chosen
        Fields of AdaptOptions: `bags='drive.mcap', steps=300`.

    Returns
    -------
    AdaptResult
        The bundle, the numbers before and after, and what was skipped.

    Raises
    ------
    ValueError
        Recordings, masks, objects or options are wrong, or the folder holds other files.
    OSError
        Something is not there.

    Notes
    -----
    Everything in the recordings that is not masked is taken for known.

    """
    options = replace(options or AdaptOptions(), **chosen)
    folder, start = Path(output), load_bundle(bundle or None)
    if start.architecture == ONNX_ARCHITECTURE:
        raise ValueError(
            f'adapt needs a network that can be trained, got {start.model_id}, an ONNX file. '
            'Train it where it comes from, or start from another bundle.'
        )
    state = {'start': start.model_id, 'options': options.as_facts()}
    _check_output(folder, state, resume=resume)
    run = _Run(folder, start, options, command or 'meta_ood_training.adapt', progress)
    with hold_folder(folder):
        write_whole(folder / STATE_FILE, json.dumps(state, indent=1) + '\n')
        return run()


def _check_output(folder: Path, state: dict[str, Any], *, resume: bool) -> None:
    path = folder / STATE_FILE
    if folder.exists() and not folder.is_dir():
        raise ValueError(f'output must be a folder, got the file {str(folder)!r}. Choose another.')
    if not resume:
        if folder.is_dir() and any(folder.iterdir()):
            advice = 'Add --resume to go on with it, or choose another.'
            raise ValueError(
                f'output must be a new or empty folder, got {str(folder)!r}, which holds files. '
                + (advice if path.is_file() else 'Choose another.')
            )
        return
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise ValueError(
                f'--resume needs {path}, got no such file. It is no folder of adapt: choose '
                'another.'
            )
        return
    earlier = json.loads(path.read_text(encoding='utf-8'))
    flat = {'start': state['start'], **state['options']}
    began = {'start': earlier['start'], **earlier['options']}
    for key, value in flat.items():
        if began.get(key) != value:
            raise ValueError(
                f'--resume must go on as the run was begun, with {key} {began.get(key)!r}, got '
                f'{value!r}. Repeat its options, or choose another --output.'
            )


@dataclass(frozen=True, eq=False)
class _Run:
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

    def __call__(self) -> AdaptResult:
        options, work = self.options, self.work
        objects = open_unknown(
            options.objects,
            work / 'rendered_objects',
            seed=options.seed,
            class_names=self.start.class_names,
        )
        facts = self._frames()
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

    def _frames(self) -> dict[str, Any]:
        """Read the recordings, unless an earlier run has."""
        place = self.work / 'frames'
        if not place.is_dir():
            recordings = open_recordings(self.options)
            masks = Masks(self.options.mask, self.options.masks, recordings)
            write_frames(
                recordings,
                masks,
                self.start,
                place,
                sure=self.options.sure,
                device=self.options.device,
                progress=self.progress,
            )
        return dict(json.loads((place / FACTS_FILE).read_text(encoding='utf-8')))

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
            trainer = {'accelerator': 'cpu'} if self.options.device == 'cpu' else {}
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
