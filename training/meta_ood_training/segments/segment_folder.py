"""`extract_segments`: images with ground truth, or rosbags -> Parquet, one row a segment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
import os
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.files.whole_folders import replace_folder
from meta_ood_ros.core.segment_metrics import metric_names
from meta_ood_training.provenance.revision import source_revision
from meta_ood_training.segments.extraction import SegmentExtractor
from meta_ood_training.segments.labelled_frames import DatasetFrames, FrameSource, SceneFrames
from meta_ood_training.segments.options import ExtractionOptions
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

#: What void pixels do, for each rule.
_VOID_RULES = {
    'deployed': 'segments over the whole image; truth from non-void pixels; '
    'segments more than half void left out',
    'published': 'non-void pixels: predictions on void are erased before segments are formed',
}


@dataclass(frozen=True, repr=False)
class SegmentsResult:
    """
    What was written; `fit_meta` reads the folder.

    Attributes
    ----------
    folder : Path
        Parquet tables of segments, objects, overlaps and frames, and their sidecar.
    counts : dict of str to int
        Rows of each table that this process wrote.
    losses : tuple of str
        What of the bags could not be read, a sentence each; what was readable is there.
    part, parts : int
        Which of how many processes this was, from 0.
    thresholds : tuple of float
        Entropy thresholds.

    """

    folder: Path
    counts: dict[str, int]
    losses: tuple[str, ...]
    part: int
    parts: int
    thresholds: tuple[float, ...]

    def __repr__(self) -> str:
        """Return the counts and the folder in a line."""
        counts = ', '.join(f'{number} {table}' for table, number in self.counts.items())
        lost = f', {len(self.losses)} losses' if self.losses else ''
        return f'SegmentsResult({counts}{lost}, in {self.folder})'


def extract_segments(
    output: str | Path,
    *,
    bundle: Bundle | str | Path | None = None,
    options: ExtractionOptions | None = None,
    overwrite: bool = False,
    progress: bool = False,
    command: str = '',
    **chosen: Any,
) -> SegmentsResult:
    """
    Find, measure and label the OoD segments of frames with ground truth; write them as tables.

    Parameters
    ----------
    output : str or Path
        Folder for the tables.
    bundle : Bundle, str or Path, optional
        The network, or the name of an installed one, or a directory; the default where absent.
    options : ExtractionOptions, optional
        Frames and thresholds.
    overwrite : bool
        Whether segments that lie in the folder are replaced.
    progress : bool
        Whether bars are shown.
    command : str
        What the sidecar states as the command that made them.
    **chosen
        Fields of ExtractionOptions: `data='folder=runs/overlay', thresholds=[0.4, 0.6]`.

    Returns
    -------
    SegmentsResult
        Counts, losses and the folder.

    Raises
    ------
    ValueError
        Options, labels or bags are wrong, or the folder holds segments.
    OSError
        Something is not there.

    Notes
    -----
    Under torchrun every process takes its share of the frames and writes its own part; reading
    needs all parts.

    """
    options = replace(options or ExtractionOptions(), **chosen)
    folder = Path(output)
    part, parts = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
    # the first one looks for what all have finished: others may start after it has
    last = SIDECAR if part == 0 else part_path(folder, TABLES[0], part, parts).name
    _check_output(folder, last, overwrite=overwrite)
    bundle = load_bundle(bundle or None)
    thresholds = sorted(set(options.thresholds or [bundle.entropy_threshold]))
    sources = open_sources(options, bundle)
    extractor = None
    if any(not isinstance(source, RecordedSegments) for source in sources):
        extractor = SegmentExtractor(
            bundle,
            thresholds,
            label_rule=options.label_rule,
            device=options.device,
            backend=options.backend,
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
    with _place(folder, part, parts) as place:
        writer, losses = _write_tables(
            place, sources, bundle, extractor, (part, parts), options.limit, progress=progress
        )
        if part == 0:
            write_sidecar(
                place,
                _describe(
                    options,
                    bundle,
                    thresholds,
                    sources,
                    parts,
                    writer.counts,
                    losses,
                    command or 'meta_ood_training.extract_segments',
                ),
            )
    if losses and 'TORCHELASTIC_RUN_ID' in os.environ:
        # torchrun ends all others at the first exit status but 0, and its own is 1 then
        wait_for_parts(folder, parts)
    return SegmentsResult(
        folder, dict(writer.counts), tuple(losses), part, parts, tuple(thresholds)
    )


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
    *,
    progress: bool,
) -> tuple[SegmentTableWriter, list[str]]:
    part, parts = share
    writer = SegmentTableWriter(folder, metric_names(bundle.num_classes), part=part, parts=parts)
    finished = False
    try:
        _write_frames(sources, bundle, extractor, writer, share, limit, progress=progress)
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
    *,
    progress: bool,
) -> None:
    offset = 0
    part, parts = share
    for source in sources:
        size = min(len(source), limit) if limit else len(source)
        total = max(0, (size - part + parts - 1) // parts)
        quiet = part != 0 or not progress
        bar = tqdm(total=total, desc=source.title, unit='frame', mininterval=1, disable=quiet)
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
    options: ExtractionOptions,
    bundle: Bundle,
    thresholds: Sequence[float],
    sources: Sequence[FrameSource],
    parts: int,
    counts: dict[str, int],
    losses: Sequence[str],
    command: str,
) -> dict[str, Any]:
    return {
        'model_id': _model_id(bundle, sources),
        'bundle_sha256': bundle.digest,
        # recorded segments name a model; whose network it was only its owner knows
        'network_sha256': None if options.recorded else bundle.network_sha256,
        'score': 'entropy' if options.recorded else bundle.score,
        'entropy_thresholds': [float(one) for one in thresholds],
        'metric_names': list(metric_names(bundle.num_classes)),
        'connectivity': 8,
        'label_rule': options.label_rule,
        'void_rule': _VOID_RULES[options.label_rule],
        'min_size_px': bundle.min_size_px,
        'work_short_side': bundle.work_short_side,
        # recorded segments are counted on the received images
        'pixel_grid': 'received' if options.recorded else 'work',
        'missed_object_unit': sorted({source.object_unit for source in sources}),
        'sources': [
            {
                'title': one.title,
                'frames': min(len(one), options.limit) if options.limit else len(one),
                'region_of_interest': one.region_of_interest,
            }
            for one in sources
        ],
        'parts': parts,
        'rows_of_part_0': counts,
        'lost': list(losses),
        'command': command,
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
