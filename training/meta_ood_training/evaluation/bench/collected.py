"""What was found of every method on every data set, and its report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
import json
from pathlib import Path
import re
import time
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.files.image_file import write_image_file
from meta_ood_ros.core.files.whole_folders import replace_folder
from meta_ood_training.datasets import SampleDataset
from meta_ood_training.evaluation.bench.component_f1 import component_f1
from meta_ood_training.evaluation.bench.counts import MethodCounts
from meta_ood_training.evaluation.bench.fitting import View
from meta_ood_training.evaluation.bench.kept_scores import KeptScores
from meta_ood_training.evaluation.bench.pictures import draw_method_gallery, save_method_curves
from meta_ood_training.evaluation.bench.ranking import (
    format_ranking,
    MethodResults,
    rank,
    rank_wrong,
    Row,
    to_method_record,
    to_rows_record,
    training_of,
)
from meta_ood_training.evaluation.frame_walk import Kept, UNFINISHED, walk_frames
from meta_ood_training.evaluation.sharing import Ranks
from meta_ood_training.methods import Method
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm


class Collected:
    """The results of bundles x data x methods, filled by one walk after the other."""

    def __init__(
        self,
        methods: Sequence[Method],
        bundles: Mapping[str, Bundle],
        *,
        parts: Sequence[str],
        draws: int,
        seed: int,
        progress: bool,
    ) -> None:
        self.misclassification, self.components = False, ''
        self.methods = {one.name: one for one in methods}
        self.bundles = bundles
        self.trainings = {title: training_of(one.provenance) for title, one in bundles.items()}
        self.parts, self.draws, self.seed, self.progress = parts, draws, seed, progress
        self.results: MethodResults = {}
        self.missing: dict[str, dict[str, str]] = {}
        self.skipped: dict[str, dict[str, str]] = {}
        self.seconds: dict[str, float] = {}
        self.galleries: dict[str, NDArray[np.uint8]] = {}

    def walk(
        self,
        title: str,
        data: str,
        dataset: SampleDataset,
        views: Sequence[View],
        indices: Sequence[int],
        *,
        names_classes: bool,
        ranks: Ranks,
        keep: Callable[[str], Kept | None],
    ) -> MethodCounts:
        """Count the frames of a data set by all methods of a bundle; `keep` is by walk."""
        start = time.perf_counter()
        walked = f'{title}, {data}'
        first = keep(walked)
        kept = (
            KeptScores(first.beside(ranks), resume=first.resume)
            if first and self.components
            else None
        )
        make: Callable[[], MethodCounts] = partial(
            MethodCounts,
            views,
            dataset,
            parts=self.parts,
            num_classes=self.bundles[title].num_classes,
            names_classes=names_classes,
            misclassification=self.misclassification,
            kept=kept,
        )
        bar = partial(
            tqdm,
            desc=walked,
            unit='image',
            disable=not self.progress or ranks.rank > 0,
        )
        walk = partial(walk_frames, dataset, indices, title=data, ranks=ranks, progress=bar)
        counts, skipped = walk(make, kept=first)
        self.skipped.setdefault(data, {}).update(skipped)
        self.missing[title] |= counts.failed
        evaluated = counts.evaluate(self.draws, self.seed)
        if self.components:
            f1 = component_f1(
                views,
                evaluated.get('', {}),
                partial(walk, kept=keep(f'{walked}, {self.components}')),
                num_classes=self.bundles[title].num_classes,
                rule=self.components,
                kept=kept,
            )
            if kept:
                kept.clear()  # both walks are counted
            for name, value in f1.items():
                evaluated[''][name] = replace(evaluated[''][name], f1=value)
        self.seconds[walked] = time.perf_counter() - start
        for part, by_method in evaluated.items():
            row = f'{data}, {part}' if part else data
            self.results.setdefault(row, {})[title] = by_method
        return counts

    def draw(
        self,
        title: str,
        data: str,
        dataset: SampleDataset,
        views: Sequence[View],
        counts: MethodCounts,
        *,
        count: int,
    ) -> None:
        """Draw the best and worst frames of each method."""
        for view in views:
            for name in view.scorers.keys() - counts.failed.keys():
                page = draw_method_gallery(
                    view,
                    name,
                    dataset,
                    counts.order_frames(name),
                    count=count,
                    num_classes=self.bundles[title].num_classes,
                )
                if page is not None:
                    self.galleries[f'{data}_{title}_{name}'] = page

    def ranked(self) -> dict[str, list[Row]]:
        """Return data -> rows, the highest AP first."""
        return {
            row: rank(by_bundle, self.methods, self.trainings)
            for row, by_bundle in self.results.items()
        }

    def table(self, *, with_published: bool) -> str:
        """Return everything in Markdown."""
        frames = {
            row: next(iter(next(iter(by_bundle.values())).values())).pixels.images
            for row, by_bundle in self.results.items()
        }
        return format_ranking(
            self.ranked(),
            self.missing,
            frames=frames,
            with_published=with_published,
            wrong={row: rank_wrong(by_bundle) for row, by_bundle in self.results.items()},
        )

    def write(self, folder: Path, report: Mapping[str, Any], table: str) -> None:
        """Write methods.json, methods.md, the curves and the galleries, as a whole."""
        ranked = self.ranked()
        record = {
            **report,
            'seconds': self.seconds,
            'skipped': {title: one for title, one in self.skipped.items() if one},
            'missing': self.missing,
            'ranking': {row: to_rows_record(rows) for row, rows in ranked.items()},
            'results': {
                row: {
                    title: {name: to_method_record(one, name) for name, one in by_method.items()}
                    for title, by_method in by_bundle.items()
                }
                for row, by_bundle in self.results.items()
            },
        }
        lines = [table, '']
        with replace_folder(folder, ours=(UNFINISHED,)) as made:
            for row, rows in ranked.items():
                if rows:
                    name = f'{_stem(row)}_curves.png'
                    counts = {
                        (title, method): one.pixels.counts[method]
                        for title, by_method in self.results[row].items()
                        for method, one in by_method.items()
                    }
                    save_method_curves(rows, counts, row, made / name)
                    lines.append(f'![{row}: curves]({name})')
            for key, page in self.galleries.items():
                name = f'{_stem(key)}_gallery.jpg'
                write_image_file(made / name, page[..., ::-1])
                lines.append(f'![{key}: best and worst]({name})')
            (made / 'methods.json').write_text(json.dumps(record, indent=1) + '\n')
            (made / 'methods.md').write_text('\n'.join(lines) + '\n')


def _stem(text: str) -> str:
    return re.sub(r'\W', '_', text)
