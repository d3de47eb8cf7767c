"""`adapt`: recordings without labels -> a bundle for their domain, judged on what it never saw."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle, ONNX_ARCHITECTURE
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.files.whole_files import write_whole
from meta_ood_training.adaptation.options import AdaptOptions
from meta_ood_training.adaptation.recordings import Masks, open_recordings
from meta_ood_training.adaptation.stages import AdaptResult, Stages, WORK
from meta_ood_training.output_places import hold_folder

STATE_FILE = 'adapt.json'


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
    run = Stages(folder, start, options, command or 'meta_ood_training.adapt', progress)
    recordings = [] if run.has_frames else open_recordings(options)
    masks = Masks(options.mask, options.masks, recordings) if recordings else None
    run.check()
    with hold_folder(folder):
        if masks is not None:
            run.read(recordings, masks)
        write_whole(folder / STATE_FILE, json.dumps(state, indent=1) + '\n')
        return run()


def _check_output(folder: Path, state: dict[str, Any], *, resume: bool) -> None:
    path = folder / STATE_FILE
    if folder.exists() and not folder.is_dir():
        raise ValueError(f'output must be a folder, got the file {str(folder)!r}. Choose another.')
    held = folder.is_dir() and _holds_something(folder)
    if not resume and held:
        advice = 'Add --resume to go on with it, or choose another.'
        raise ValueError(
            f'output must be a new or empty folder, got {str(folder)!r}, which holds files. '
            + (advice if path.is_file() else 'Choose another.')
        )
    if not resume or not held:
        return
    if not path.is_file():
        raise ValueError(
            f'--resume needs {path}, got no such file. It is no folder of adapt: choose another.'
        )
    earlier = json.loads(path.read_text(encoding='utf-8'))
    began = {'start': earlier['start'], **earlier['options']}
    for key, value in {'start': state['start'], **state['options']}.items():
        if began.get(key) != value:
            raise ValueError(
                f'--resume must go on as the run was begun, with {key} {began.get(key)!r}, got '
                f'{value!r}. Repeat its options, or choose another --output.'
            )


def _holds_something(folder: Path) -> bool:
    """Return whether there is more than what reading the first frames leaves when it is ended."""
    return any(one.name != WORK for one in folder.iterdir()) or any(
        not one.name.startswith('.') for one in (folder / WORK).glob('*')
    )
