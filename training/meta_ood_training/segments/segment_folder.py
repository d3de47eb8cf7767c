"""`extract_segments`: images with ground truth, or rosbags -> Parquet, one row a segment."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
import os
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.files.whole_folders import replace_folder
from meta_ood_ros.core.segment_metrics import metric_names
from meta_ood_training.segments.description import describe_run, describe_segments
from meta_ood_training.segments.extraction import SegmentExtractor
from meta_ood_training.segments.labelled_frames import DatasetFrames, FrameSource, SceneFrames
from meta_ood_training.segments.options import ExtractionOptions
from meta_ood_training.segments.pieces import has_pieces, hold_pieces, Pieces
from meta_ood_training.segments.recorded_rows import to_frame_rows
from meta_ood_training.segments.recorded_segments import RecordedSegments
from meta_ood_training.segments.schemas import CORE_TABLES, TABLES
from meta_ood_training.segments.sources import open_sources
from meta_ood_training.segments.table import (
    OURS,
    part_path,
    SegmentTableWriter,
    SIDECAR,
    wait_for_parts,
    write_losses,
    write_sidecar,
)
from tqdm import tqdm


@dataclass(frozen=True, repr=False)
class SegmentsResult:
    """
    What was written; `fit_meta` reads the folder.

    Attributes
    ----------
    folder : Path
        Parquet tables of segments, objects, overlaps, frames and, where cores were asked for,
        what is published; and their sidecar.
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

    def describe_counts(self) -> str:
        """Return how many rows of what there are; of cores only where some were asked for."""
        return ', '.join(
            f'{number} {table}'
            for table, number in self.counts.items()
            if number or table not in CORE_TABLES
        )

    def __repr__(self) -> str:
        """Return the counts and the folder in a line."""
        counts = self.describe_counts()
        lost = f', {len(self.losses)} losses' if self.losses else ''
        return f'SegmentsResult({counts}{lost}, in {self.folder})'


def extract_segments(
    output: str | Path,
    *,
    bundle: Bundle | str | Path | None = None,
    options: ExtractionOptions | None = None,
    overwrite: bool = False,
    resume: bool = False,
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
        Whether segments that lie in the folder are replaced, and what an interrupted run has
        left is thrown away.
    resume : bool
        Whether an interrupted run is gone on with; frames that it has done are kept.
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
    needs all parts. What is done is kept beside the folder until all is, so that little is lost
    when a run is interrupted.

    """
    options = replace(options or ExtractionOptions(), **chosen)
    folder = Path(output)
    part, parts = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
    # the first one looks for what all have finished: others may start after it has
    last = SIDECAR if part == 0 else part_path(folder, TABLES[0], part, parts).name
    may_hold = overwrite or (resume and has_pieces(folder, part, parts))
    _check_output(folder, last, overwrite=may_hold)
    bundle = load_bundle(bundle or None)
    thresholds = sorted(set(options.thresholds or [bundle.entropy_threshold]))
    sources = open_sources(options, bundle)
    extractor = None
    if any(not isinstance(source, RecordedSegments) for source in sources):
        extractor = SegmentExtractor(
            bundle,
            thresholds,
            core_thresholds=sorted(set(options.core_thresholds)),
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
    names = metric_names(bundle.num_classes)
    facts = describe_run(options, bundle, thresholds, sources)
    with hold_pieces(
        folder, part, parts, facts, names, resume=resume, overwrite=overwrite
    ) as pieces:
        if parts > 1:
            _remove_finished(folder, part, parts)
        _process(
            sources, bundle, extractor, pieces, (part, parts), options.limit, progress=progress
        )
        losses = [loss for source in sources for loss in getattr(source, 'losses', [])]
        with replace_folder(folder, ours=OURS) if parts == 1 else nullcontext(folder) as place:
            counts = _write_tables(place, pieces, names, losses, (part, parts))
            if part == 0:
                write_sidecar(
                    place,
                    describe_segments(
                        options,
                        bundle,
                        thresholds,
                        sources,
                        parts,
                        counts,
                        pieces.done,
                        losses,
                        command or 'meta_ood_training.extract_segments',
                    ),
                )
    if losses and 'TORCHELASTIC_RUN_ID' in os.environ:
        # torchrun ends all others at the first exit status but 0, and its own is 1 then
        wait_for_parts(folder, parts)
    return SegmentsResult(folder, counts, tuple(losses), part, parts, tuple(thresholds))


def _remove_finished(folder: Path, part: int, parts: int) -> None:
    """Remove what a run before has left, so that it is not taken for this one's."""
    if part == 0:
        (folder / SIDECAR).unlink(missing_ok=True)
    for table in TABLES:
        part_path(folder, table, part, parts).unlink(missing_ok=True)


def _write_tables(
    folder: Path,
    pieces: Pieces,
    names: Sequence[str],
    losses: Sequence[str],
    share: tuple[int, int],
) -> dict[str, int]:
    part, parts = share
    writer = SegmentTableWriter(folder, names, part=part, parts=parts)
    finished = False
    try:
        pieces.join(writer)
        write_losses(folder, losses, part=part, parts=parts)
        finished = True
    finally:
        writer.close(keep=finished)
    return dict(writer.counts)


def _check_output(folder: Path, file: str, *, overwrite: bool) -> None:
    if overwrite or not (folder / file).exists():
        return
    raise ValueError(
        f'output must be a folder without segments, got {folder}, which holds {file}. '
        'Choose another, or pass --overwrite.'
    )


def _process(
    sources: Sequence[FrameSource],
    bundle: Bundle,
    extractor: SegmentExtractor | None,
    pieces: Pieces,
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
        done = {number - offset for number in pieces.done if number >= offset}
        done &= set(range(size))
        with tqdm(
            total=total,
            initial=len(done),
            desc=source.title,
            unit='frame',
            mininterval=1,
            disable=quiet,
        ) as bar:
            for number, frame in source.share(part, parts, done):
                if number >= size:
                    if isinstance(source, DatasetFrames | SceneFrames):
                        break  # their numbers ascend; a bag's frames come as they were recorded
                    continue
                if isinstance(source, RecordedSegments):
                    pieces.write(to_frame_rows(source, frame, offset + number, bundle))
                elif extractor is not None:
                    pieces.write(extractor(frame, offset + number))
                bar.update()
        offset += len(source)
