"""
What every OoD score costs a frame: `python -m benchmarks.training.methods_cost --data NAME=PATH`.

Network, classes and score of one frame at a time, as `evaluate --methods` times them, here in
seconds of the processor, too: those count only this process, however busy the machine is.
"""

import argparse
from collections.abc import Sequence
import os
from pathlib import Path
import statistics
import time

from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_training.datasets import open_dataset, parse_dataset
from meta_ood_training.evaluation.bench.counts import look
from meta_ood_training.evaluation.bench.fitting import find_artefacts, prepare, View
from meta_ood_training.methods import find_methods, METHODS, Observer
import torch


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row a method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', required=True, help='NAME=PATH of the frames to score')
    parser.add_argument('--fit-data', help='NAME=PATH of labelled streets to fit on')
    parser.add_argument('--fit-frames', type=int, default=5)
    parser.add_argument('--fitted', type=Path, help='of methods that were fitted before')
    parser.add_argument('--methods', default='all', help='names, with commas')
    parser.add_argument('--bundle', help='default: the installed one')
    parser.add_argument('--frames', type=int, default=3, help='behind one that warms up')
    parser.add_argument('--work-short-side', type=int)
    parser.add_argument('--device', default='cpu')
    given = parser.parse_args(arguments)
    bundle = load_bundle(given.bundle)

    def observe(network: object) -> Observer:
        return Observer.from_bundle(
            bundle,
            network=network,  # type: ignore[arg-type]
            work_short_side=given.work_short_side,
            device=given.device,
        )

    fit_data = [parse_dataset(given.fit_data)] if given.fit_data else []
    views, missing = prepare(
        bundle,
        find_methods(given.methods.split(',')),
        observe,
        fit_data=[
            open_dataset(layout, path, num_classes=bundle.num_classes)
            for _, layout, path in fit_data
        ],
        fit_limit=given.fit_frames,
        artefacts=find_artefacts(given.fitted, (), list(METHODS)),
        seed=0,
        say=lambda sentence: print('preparing', sentence, flush=True),
    )
    _, layout, path = parse_dataset(given.data)
    dataset = open_dataset(layout, path, num_classes=bundle.num_classes)
    images = [dataset[index].image for index in range(1 + given.frames)]
    print(f'{bundle.model_id}, {images[0].shape[1]} x {images[0].shape[0]}, ', end='')
    print(f'{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.0f}')
    print('| method | processor [s/frame] | wall [s/frame] |\n|---|---|---|')
    for view in views:
        for name, scorer in view.scorers.items():
            times = []
            for image in images:
                wall, processor = time.perf_counter(), time.process_time()
                look(View(view.observer, {name: scorer}), image, bundle.num_classes)
                times.append((time.process_time() - processor, time.perf_counter() - wall))
            columns = zip(*times[1:], strict=True)
            cells = ' | '.join(f'{statistics.median(one):.2f}' for one in columns)
            print(f'| {name} | {cells} |', flush=True)
    for name, reason in missing.items():
        print(f'not run: {name}: {reason}')


if __name__ == '__main__':
    main()
