"""
`meta-ood-train segments`: images with ground truth, or rosbags -> Parquet, one row a segment.

Under torchrun every process takes its share of the frames and writes its own part; reading needs
all parts. Exit status 3: a bag ended early; what was readable is there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
import os
from pathlib import Path
import sys
from typing import Any

from meta_ood_ros.core.bundle import Bundle, LABEL_RULES
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.segment_metrics import metric_names
from meta_ood_ros.core.whole_folders import replace_folder
from meta_ood_training.provenance.command_line import describe_command
from meta_ood_training.provenance.revision import source_revision
from meta_ood_training.segments.extraction import SegmentExtractor
from meta_ood_training.segments.labelled_frames import DatasetFrames, FrameSource, SceneFrames
from meta_ood_training.segments.recorded_rows import to_frame_rows
from meta_ood_training.segments.recorded_segments import RecordedSegments
from meta_ood_training.segments.sources import open_sources
from meta_ood_training.segments.table import (
    OURS,
    part_path,
    SegmentTableWriter,
    SIDECAR,
    TABLES,
    wait_for_parts,
    write_losses,
    write_sidecar,
)
from tqdm import tqdm

#: Exit status when a bag ended early.
TRUNCATED = 3

#: What void pixels do, for each rule.
_VOID_RULES = {
    'deployed': 'segments over the whole image; truth from non-void pixels; '
    'segments more than half void left out',
    'published': 'non-void pixels: predictions on void are erased before segments are formed',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument('output', type=Path, help='folder for the tables and their sidecar')
    source = parser.add_argument_group('frames with ground truth')
    source.add_argument(
        '--data',
        action='append',
        default=[],
        metavar='[SPLIT:]NAME=PATH',
        help='a data set, e.g. camvid_fit=data/camvid or select:folder=runs/overlay; repeatable',
    )
    source.add_argument(
        '--scenes', action='append', default=[], metavar='FIRST:END', help='seeds of scenes'
    )
    source.add_argument(
        '--scene-shapes', choices=('train', 'test'), default='train', help='families of objects'
    )
    source.add_argument(
        '--bag', action='append', default=[], type=Path, help='a ROS 2 bag (.mcap, .db3)'
    )
    source.add_argument('--limit', type=int, default=0, help='only so many frames a source, 0 all')
    bags = parser.add_argument_group('bags')
    bags.add_argument('--image-topic', default='', help='default: the only one with images')
    bags.add_argument('--label-topic', default='', help='mono8 ground truth of the same stamps')
    bags.add_argument(
        '--label-folder', type=Path, help='ground truth PNG, named <seconds>_<nanoseconds>.png'
    )
    bags.add_argument(
        '--recorded',
        default='',
        metavar='TOPIC',
        help='take recorded ~/segments with metrics instead of running the network',
    )
    bags.add_argument(
        '--recorded-ids', default='', metavar='TOPIC', help='their ~/segment_ids (mono16)'
    )
    bags.add_argument(
        '--block-seconds', type=float, default=10.0, help='length of a group of frames of a bag'
    )
    method = parser.add_argument_group('method')
    method.add_argument('--bundle', default='', help='model bundle; default: the installed one')
    method.add_argument(
        '--threshold',
        type=float,
        nargs='+',
        help='entropy thresholds; default: the one of the bundle',
    )
    method.add_argument(
        '--label-rule', choices=LABEL_RULES, default='deployed', help='how void pixels count'
    )
    method.add_argument('--split', default='fit', help='value of the column split')
    method.add_argument('--device', default='auto', help='cpu, cuda, cuda:N or auto')
    method.add_argument('--backend', default='auto', help='how the network runs')
    method.add_argument(
        '--overwrite',
        action='store_true',
        help='replace the segments in the folder: at the end; of several processes, at the start',
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the tables."""
    if not arguments.block_seconds > 0:
        raise ValueError(
            f'--block-seconds must be positive, got {arguments.block_seconds:g}. Ten is usual.'
        )
    part, parts = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
    # the first one looks for what all have finished: others may start after it has
    last = SIDECAR if part == 0 else part_path(arguments.output, TABLES[0], part, parts).name
    _check_output(arguments.output, last, overwrite=arguments.overwrite)
    bundle = load_bundle(arguments.bundle or None)
    thresholds = sorted(set(arguments.threshold or [bundle.entropy_threshold]))
    sources = open_sources(arguments, bundle)
    extractor = None
    if any(not isinstance(source, RecordedSegments) for source in sources):
        extractor = SegmentExtractor(
            bundle,
            thresholds,
            label_rule=arguments.label_rule,
            device=arguments.device,
            backend=arguments.backend,
        )
    else:
        recorded = [one for one in sources if isinstance(one, RecordedSegments)]
        thresholds = sorted({value for one in recorded for value in one.thresholds})
        if len(thresholds) > 1:
            raise ValueError(
                f'recorded segments must be of one entropy threshold, got {thresholds}: at each '
                'of them the other frames would count as missed. Record anew with one, or leave '
                'out --recorded, so that the network runs again.'
            )
    with _place(arguments.output, part, parts) as folder:
        writer, losses = _write_tables(
            folder, sources, bundle, extractor, (part, parts), arguments.limit
        )
        if part == 0:
            write_sidecar(
                folder,
                _describe(arguments, bundle, thresholds, sources, parts, writer.counts, losses),
            )
    counts = ', '.join(f'{number} {table}' for table, number in writer.counts.items())
    print(f'part {part + 1} of {parts}: {counts} -> {arguments.output}')
    for loss in losses:
        print(f'meta-ood-train segments: {loss}', file=sys.stderr)
    if losses and 'TORCHELASTIC_RUN_ID' in os.environ:
        # torchrun ends all others at the first exit status but 0, and its own is 1 then
        wait_for_parts(arguments.output, parts)
    return TRUNCATED if losses else 0


@contextmanager
def _place(output: Path, part: int, parts: int) -> Iterator[Path]:
    """Give the folder to write to: of one process a new one, of several the one they share."""
    if parts == 1:
        with replace_folder(output, ours=OURS) as made:
            yield made
        return
    if part == 0:
        (output / SIDECAR).unlink(missing_ok=True)
    yield output


def _write_tables(
    folder: Path,
    sources: Sequence[FrameSource],
    bundle: Bundle,
    extractor: SegmentExtractor | None,
    share: tuple[int, int],
    limit: int,
) -> tuple[SegmentTableWriter, list[str]]:
    part, parts = share
    writer = SegmentTableWriter(folder, metric_names(bundle.num_classes), part=part, parts=parts)
    finished = False
    try:
        _write_frames(sources, bundle, extractor, writer, share, limit)
        losses = [loss for source in sources for loss in getattr(source, 'losses', [])]
        write_losses(folder, losses, part=part, parts=parts)
        finished = True
    finally:
        writer.close(keep=finished)
    return writer, losses


def _check_output(folder: Path, file: str, *, overwrite: bool) -> None:
    if overwrite or not (folder / file).exists():
        return
    raise ValueError(
        f'output must be a folder without segments, got {folder}, which holds {file}. '
        'Choose another, or pass --overwrite.'
    )


def _write_frames(
    sources: Sequence[FrameSource],
    bundle: Bundle,
    extractor: SegmentExtractor | None,
    writer: SegmentTableWriter,
    share: tuple[int, int],
    limit: int,
) -> None:
    offset = 0
    part, parts = share
    for source in sources:
        size = min(len(source), limit) if limit else len(source)
        total = max(0, (size - part + parts - 1) // parts)
        bar = tqdm(total=total, desc=source.title, unit='frame', mininterval=1, disable=part != 0)
        with bar:
            for number, frame in source.share(part, parts):
                if number >= size:
                    if isinstance(source, DatasetFrames | SceneFrames):
                        break  # their numbers ascend; a bag's frames come as they were recorded
                    continue
                if isinstance(source, RecordedSegments):
                    writer.write(to_frame_rows(source, frame, offset + number, bundle))
                elif extractor is not None:
                    writer.write(extractor(frame, offset + number))
                bar.update()
                bar.set_postfix(segments=writer.counts['segments'], refresh=False)
        offset += len(source)


def _describe(
    arguments: argparse.Namespace,
    bundle: Bundle,
    thresholds: Sequence[float],
    sources: Sequence[FrameSource],
    parts: int,
    counts: dict[str, int],
    losses: Sequence[str],
) -> dict[str, Any]:
    return {
        'model_id': _model_id(bundle, sources),
        'bundle_sha256': bundle.digest,
        # recorded segments name a model; whose network it was only its owner knows
        'network_sha256': None if arguments.recorded else bundle.network_sha256,
        'score': 'entropy',
        'entropy_thresholds': [float(one) for one in thresholds],
        'metric_names': list(metric_names(bundle.num_classes)),
        'connectivity': 8,
        'label_rule': arguments.label_rule,
        'void_rule': _VOID_RULES[arguments.label_rule],
        'min_size_px': bundle.min_size_px,
        'work_short_side': bundle.work_short_side,
        # recorded segments are counted on the received images
        'pixel_grid': 'received' if arguments.recorded else 'work',
        'missed_object_unit': sorted({source.object_unit for source in sources}),
        'sources': [
            {
                'title': one.title,
                'frames': len(one),
                'region_of_interest': one.region_of_interest,
            }
            for one in sources
        ],
        'parts': parts,
        'rows_of_part_0': counts,
        'lost': list(losses),
        'command': describe_command(sys.argv[1:]),
        'revision': source_revision(),
    }


def _model_id(bundle: Bundle, sources: Sequence[FrameSource]) -> str:
    """Return the model that the segments come from; recorded ones carry it."""
    recorded = {one.model_id for one in sources if isinstance(one, RecordedSegments)}
    if len(recorded) > 1:
        raise ValueError(
            f'recorded segments must come from one model, got {", ".join(sorted(recorded))}. '
            'Write each into a folder of its own.'
        )
    return recorded.pop() if recorded else bundle.model_id
