"""
What each ingredient of the default's recipe is worth: short runs that lack one, over seeds.

    python -m benchmarks.training.ingredients DATA RUNS [--seeds 0 1 2] [--steps 120] [--crop 288]

DATA is that of training/make_bundle.sh with espnet_v2.pth, and to judge on with road_anomaly and
overlay (made by `overlay`). What is done is not repeated; the table says mean, lowest, highest.
"""

import argparse
from collections.abc import Mapping, Sequence
import json
from pathlib import Path

from meta_ood_ros.core.files.whole_files import write_whole
from meta_ood_training import evaluate, export_bundle, finetune
from meta_ood_training.finetuning.config import FinetuneConfig
from meta_ood_training.finetuning.config_reader import read_config
from meta_ood_training.finetuning.run_config import data_names
import numpy as np

CONFIG = Path('config/finetune_deeplabv3plus_mobilenet_edgetpu_small.yaml')
FIRST_PROXIES = 280
"""As many photographs as ECSSD's proxies were before they were doubled."""
FEWER_PROXIES = f'{FIRST_PROXIES} proxies of ECSSD'
JUDGED_FRAMES = 100
"""Of each data set, so that training takes most of the time."""
_STREETS = (
    'street=[{layout: camvid_fit, data: camvid, short_side: 384, targets: consistent, repeats: 2},'
    ' {layout: idd_lite_fit, data: idd_lite, short_side: 300, targets: cautious, repeats: 0.6},'
    ' {layout: labelme_facade_fit, data: labelme, short_side: 384, targets: consistent,'
    ' repeats: 1.5}, {layout: scenes, data: scenes, count: 2000, ood_objects: 4, short_side: 384,'
    ' targets: labels, repeats: 0.5}]'
)

#: What is changed -> the values that change it.
INGREDIENTS: dict[str, tuple[str, ...]] = {
    'all of it': (),
    'start: ESPNetv2': (
        'network={architecture: espnet_v2, arguments: {scale: 2.0}, num_classes: 19,'
        ' weights: espnet_v2_weights}',
    ),
    FEWER_PROXIES: (),
    'no small objects, none placed on the road': (
        'pasting.area_min=0.002',
        'pasting.on_road_probability=0',
    ),
    'streets at three quarters of the resolution': (_STREETS,),
    'its own teacher': ("objective.teacher=''", 'objective.teacher_architecture=null'),
    'no shadows, no paint': (
        'hard_negatives.shadow_probability=0',
        'hard_negatives.marking_probability=0',
    ),
}
_NEEDED = {
    'camvid': 'camvid',
    'idd_lite': 'idd_lite',
    'labelme': 'labelme_facade',
    'ecssd': 'ecssd',
    'coco': 'coco',
    'edgetpu_weights': 'edgetpu.npz',
    'espnet_v2_weights': 'espnet_v2.pth',
    'teacher_weights': 'efficientvit.pt',
}
_JUDGED = ('road_anomaly', 'overlay')


def first_proxies(ecssd: Path, folder: Path) -> Path:
    """Return a folder with the first photographs of ECSSD alone, as links."""
    for kind in ('images', 'masks'):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for one in sorted((ecssd / kind).iterdir())[:FIRST_PROXIES]:
            link = folder / kind / one.name
            if not link.exists():
                link.symlink_to(one.resolve())
    return folder


def judge(
    title: str, seed: int, data: Path, runs: Path, *, steps: int, crop: int
) -> Mapping[str, float]:
    """Train, unless that was done, and return the scores."""
    run = runs / f'{list(INGREDIENTS).index(title)}_{seed}'
    kept = run / 'ingredient.json'
    if kept.exists():
        return json.loads(kept.read_text())
    chosen = (f'training.max_steps={steps}', f'augmentation.crop={crop}', f'training.seed={seed}')
    overrides = (*chosen, 'training.threads=1', *INGREDIENTS[title])
    named = data_names(read_config(FinetuneConfig, CONFIG, overrides))
    places = {name: data / one for name, one in _NEEDED.items() if name in named}
    places['scenes'] = runs / 'scenes'
    if title == FEWER_PROXIES:
        places['ecssd'] = first_proxies(data / 'ecssd', runs / 'first_proxies')
    if not (run / 'final.pth').exists():
        resume = (run / 'last.ckpt').exists()
        finetune(CONFIG, run, data=places, overrides=overrides, resume=resume)
    final, folder = run / 'final.pth', run / 'bundle'
    made = export_bundle(final, folder, licence='a trial', data_terms='a trial')
    judged = evaluate(
        [f'road_anomaly={data / "road_anomaly"}', f'folder={data / "overlay"}'],
        bundles=made.bundle,
        scores='entropy',
        limit=JUDGED_FRAMES,
        draws=0,
        device='cpu',
    )
    found: dict[str, float] = {}
    for data_title, by_bundle in zip(_JUDGED, judged.results.values(), strict=True):
        (scores,) = by_bundle.values()
        pixels = scores.scores['entropy']
        found[f'{data_title} AP'] = pixels.average_precision
        found[f'{data_title} FPR95'] = pixels.fpr95
        if data_title == 'overlay':
            found['mIoU'] = scores.confusion.mean_iou()
    write_whole(kept, json.dumps(found, indent=1).encode())
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all of them and print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('data', type=Path, metavar='DATA')
    parser.add_argument('runs', type=Path, metavar='RUNS')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--steps', type=int, default=120)
    parser.add_argument('--crop', type=int, default=288)
    parsed = parser.parse_args(arguments)
    rows: dict[str, list[Mapping[str, float]]] = {}
    for seed in parsed.seeds:  # each seed as a whole, so that what is stopped can be compared
        for title in INGREDIENTS:
            found = judge(
                title, seed, parsed.data, parsed.runs, steps=parsed.steps, crop=parsed.crop
            )
            rows.setdefault(title, []).append(found)
            print(f'seed {seed}, {title}: {dict(found)}', flush=True)
    columns = list(rows['all of it'][0])
    print('', f'| | {" | ".join(columns)} |', f'|---{"|---" * len(columns)}|', sep='\n')
    for title, of_seeds in rows.items():
        values = np.array([[one[column] for column in columns] for one in of_seeds])
        cells = zip(values.mean(0), values.min(0), values.max(0), strict=True)
        said = [f'{mean:.3f} [{low:.3f}, {high:.3f}]' for mean, low, high in cells]
        print(f'| {title} | {" | ".join(said)} |')


if __name__ == '__main__':
    main()
