"""`predict`: images, a video or a bag -> pictures and segments on disk, as the node finds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
import json
from pathlib import Path
import sys
import time
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.files.whole_files import write_whole
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.settings import FROM_BUNDLE, PipelineSettings
from meta_ood_training.output_places import hold_folder
from meta_ood_training.plain_arguments import as_tuple, check_choice
from meta_ood_training.prediction.benchmark_files import Benchmark, open_benchmark
from meta_ood_training.prediction.frame_files import PICTURES, record_path, write_frame
from meta_ood_training.prediction.inputs import Frame, Input, open_input
from meta_ood_training.prediction.overlapping import read_ahead, WriteBehind
from meta_ood_training.prediction.run_facts import (
    check_output,
    check_places,
    describe,
    DESCRIPTION,
)
from meta_ood_training.prediction.tables import FORMATS, write_coco, write_table
from tqdm import tqdm

_AHEAD, _BEHIND, _WRITERS = 3, 4, 2


@dataclass(frozen=True, repr=False)
class PredictionResult:
    """
    What `predict` wrote.

    Attributes
    ----------
    output : Path
        The folder: one of each picture, `frames` with a record a frame, tables.
    table : Path
        segments.jsonl or segments.parquet, a row a segment.
    coco : Path or None
        coco.json, where asked for.
    frames, segments, accepted : int
        How many are there, those of an earlier run that was resumed included.
    resumed : int
        Frames that an earlier run had written.
    skipped : dict of str to str
        Frame -> why it has no files.
    loss : str
        What the input lost, '' for nothing.
    seconds : float
        How long this process took for the frames.

    """

    output: Path
    table: Path
    coco: Path | None
    frames: int
    segments: int
    accepted: int
    resumed: int
    skipped: dict[str, str]
    loss: str
    seconds: float

    def __repr__(self) -> str:
        """Return the counts and the folder in a line."""
        skipped = f', {len(self.skipped)} skipped' if self.skipped else ''
        return (
            f'PredictionResult({self.frames} frames{skipped}, {self.segments} segments, '
            f'{self.accepted} accepted, in {self.output})'
        )


def predict(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    bundle: Bundle | str | Path | None = None,
    entropy_threshold: float = FROM_BUNDLE,
    meta_threshold: float = FROM_BUNDLE,
    work_short_side: int = -1,
    topic: str = '',
    limit: int = 0,
    pictures: str | Sequence[str] = PICTURES,
    table: str = 'jsonl',
    coco: bool = False,
    benchmark: str = '',
    device: str = 'auto',
    backend: str = 'auto',
    precision: str = 'auto',
    resume: bool = False,
    progress: bool = False,
) -> PredictionResult:
    """
    Find the OoD segments of images, of a video or of a bag, and write them with pictures.

    Parameters
    ----------
    inputs : str, Path or sequence of them
        An image, several, a folder of images, a video file, or a ROS 2 bag (.mcap, .db3).
    output : str or Path
        Folder to write, new or empty unless an earlier run is resumed.
    bundle : Bundle, str or Path, optional
        The network, or the name of an installed one, or a directory; the default where absent.
    entropy_threshold, meta_threshold : float
        -1 takes the value of the bundle.
    work_short_side : int
        Short side of the work grid in pixels; -1 takes the value of the bundle, 0 the image's.
    topic : str
        Of a bag; the only one with images where empty.
    limit : int
        Only the first so many frames; 0 takes all.
    pictures : str or sequence of str
        Of 'overlay', 'entropy', 'semantic' and 'segment_ids'; none for tables alone.
    table : str
        'jsonl' or 'parquet'.
    coco : bool
        Whether accepted segments are also written as polygons, to coco.json.
    benchmark : str
        'fishyscapes' or 'segment_me_if_you_can:DATASET': files that it reads are written, too.
    device, backend, precision : str
        How the network runs, see `load_backend`.
    resume : bool
        Go on with an earlier run in `output`: what it wrote whole is not done again.
    progress : bool
        Whether a bar with the remaining time is shown.

    Returns
    -------
    PredictionResult
        Counts and files. A frame that cannot be read or processed is skipped and named there.

    Raises
    ------
    ValueError
        No such input, nothing in it, or wrong options; or `output` holds other files.
    OSError
        The disk is full, or does not allow it.

    """
    folder = Path(output)
    pictures = as_tuple(pictures, str)
    for one in pictures:
        check_choice('pictures', one, PICTURES)
    check_choice('table', table, FORMATS)
    if limit < 0:
        raise ValueError(f'limit must be at least 0, got {limit}. 0 takes all frames.')
    settings = PipelineSettings(
        entropy_threshold=entropy_threshold,
        meta_threshold=meta_threshold,
        work_short_side=work_short_side,
    )
    source = open_input(check_places(as_tuple(inputs, Path), folder), topic=topic, limit=limit)
    pipeline = OodPipeline(bundle, settings, device, backend=backend, precision=precision)
    facts = describe(pipeline, source, pictures, coco=coco, benchmark=benchmark)
    opened = open_benchmark(
        benchmark, method=pipeline.bundle.name, num_classes=pipeline.bundle.num_classes
    )
    check_output(folder, facts, resume=resume)
    with hold_folder(folder):
        return _predict(
            pipeline,
            source,
            folder,
            facts,
            pictures,
            table=table,
            coco=coco,
            benchmark=opened,
            progress=progress,
        )


def _predict(
    pipeline: OodPipeline,
    source: Input,
    folder: Path,
    facts: dict[str, Any],
    pictures: Sequence[str],
    *,
    table: str,
    coco: bool,
    benchmark: Benchmark,
    progress: bool,
) -> PredictionResult:
    write_whole(folder / DESCRIPTION, json.dumps(facts, indent=1) + '\n')
    start = time.monotonic()
    names, skipped, resumed = _write_frames(
        pipeline,
        source,
        folder,
        pictures=pictures,
        polygons=coco,
        benchmark=benchmark,
        progress=progress,
    )
    seconds = time.monotonic() - start
    counts = {
        'frames': len(names),
        'segments': 0,
        'accepted': 0,
    }
    for record in _records(folder, names):
        counts['segments'] += len(record['segments'])
        counts['accepted'] += sum(one['accepted'] for one in record['segments'])
    written = write_table(folder, _records(folder, names), table)
    result = PredictionResult(
        output=folder,
        table=written,
        coco=write_coco(folder, _records(folder, names)) if coco else None,
        resumed=resumed,
        skipped=skipped,
        loss=source.loss(),
        seconds=seconds,
        **counts,
    )
    facts |= {**counts, 'skipped': skipped, 'loss': result.loss}
    write_whole(folder / DESCRIPTION, json.dumps(facts, indent=1) + '\n')
    return result


def _write_frames(
    pipeline: OodPipeline,
    source: Input,
    output: Path,
    *,
    pictures: Sequence[str],
    polygons: bool,
    benchmark: Benchmark,
    progress: bool,
) -> tuple[list[str], dict[str, str], int]:
    """Return the frames that are on the disk, those that are not, and how many were before."""
    names: list[str] = []
    skipped: dict[str, str] = {}
    resumed = 0
    write = partial(write_frame, output, pictures=pictures, polygons=polygons, benchmark=benchmark)
    frames = source.read(lambda name: record_path(output, name).is_file())
    bar = tqdm(
        total=len(source) or None,
        desc='predict',
        unit='frame',
        mininterval=1,
        disable=not progress,
    )
    with bar, WriteBehind(_WRITERS, _BEHIND) as write_behind:
        for frame in read_ahead(frames, _AHEAD):
            if frame.image is None and not frame.complaint:
                resumed += 1
                names.append(frame.name)
            else:
                complaint = frame.complaint or benchmark.complain(frame.name)
                if frame.image is not None and not complaint:
                    complaint = _process(pipeline, frame, write, write_behind)
                if complaint:
                    skipped[frame.name] = complaint
                    if progress:
                        bar.write(f'skipped {frame.name}: {complaint}', file=sys.stderr)
                else:
                    names.append(frame.name)
            bar.update()
    return names, skipped, resumed


def _process(pipeline: OodPipeline, frame: Frame, write: Any, write_behind: WriteBehind) -> str:
    """Compute a frame and have it written; return why that cannot be, '' where it can."""
    try:
        result = pipeline(frame.image)
    except ValueError as error:  # this image is too large, say; the next one may be good
        return str(error)
    write_behind(write, frame.name, frame.image, result)
    return ''


def _records(output: Path, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for name in names:
        yield json.loads(record_path(output, name).read_text(encoding='utf-8'))
