"""What a run of `predict` is made of, and whether it may go on in a folder."""

from __future__ import annotations

from collections.abc import Sequence
import json
from pathlib import Path
from typing import Any

from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_training.prediction.inputs import Input

DESCRIPTION = 'predict.json'
"""What made the folder, and what was skipped."""


def check_places(inputs: tuple[Path, ...], output: Path) -> tuple[Path, ...]:
    """Return the inputs, or refuse an output folder within one of them."""
    for one in inputs:
        if one.is_dir() and one.resolve() in (output.resolve(), *output.resolve().parents):
            raise ValueError(
                f'output must lie outside the input, got {str(output)!r} in {str(one)!r}: its '
                'pictures would be the next input. Choose another folder.'
            )
    return inputs


def describe(
    pipeline: OodPipeline,
    source: Input,
    pictures: Sequence[str],
    *,
    coco: bool,
    benchmark: str,
) -> dict[str, Any]:
    """Return what an earlier run must have had in common for this one to go on with it."""
    entropy_threshold, meta_threshold = pipeline.effective_thresholds(pipeline.settings)
    return {
        'input': source.title,
        'model_id': pipeline.bundle.model_id,
        'entropy_threshold': entropy_threshold,
        'meta_threshold': meta_threshold,
        'work_short_side': pipeline.effective_short_side(pipeline.settings),
        'pictures': list(pictures),
        'polygons': coco,
        'benchmark': benchmark,
    }


def check_output(output: Path, facts: dict[str, Any], *, resume: bool) -> None:
    """Refuse a folder that holds something else, or an earlier run of other facts."""
    description = output / DESCRIPTION
    if output.exists() and not output.is_dir():
        raise ValueError(f'output must be a folder, got the file {str(output)!r}. Choose another.')
    held = output.is_dir() and any(output.iterdir())
    if not resume:
        if held:
            raise ValueError(
                f'output must be a new or empty folder, got {str(output)!r}, which holds files. '
                + ('Add --resume to go on with it, or choose another.' if description.is_file()
                   else 'Choose another.')
            )  # fmt: skip
        return
    if not description.is_file():
        if held:
            raise ValueError(
                f'--resume needs {description}, got no such file. It is no folder of predict: '
                'choose another.'
            )
        return
    earlier = json.loads(description.read_text(encoding='utf-8'))
    for key, value in facts.items():
        if earlier.get(key) != value:
            raise ValueError(
                f'--resume must go on as the run was begun, with {key} {earlier.get(key)!r}, got '
                f'{value!r}. Repeat its options, or choose another --output.'
            )
