"""`export_bundle`: a checkpoint -> a bundle that says where its weights come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
import json
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import save_bundle
from meta_ood_ros.core.classes import CITYSCAPES_NAMES
from meta_ood_ros.core.networks import (
    load_weights,
    NETWORK_NAMES,
)
from meta_ood_training.bundles.checkpoints import (
    Checkpoint,
    half_difference,
    LARGEST_HALF_DIFFERENCE,
    open_checkpoint,
    read_average,
    to_half,
)
from meta_ood_training.bundles.head_export import (
    refuse_average_of_heads,
    with_outlier_decoder,
    write_head,
)
from meta_ood_training.datasets import exported_classes
from meta_ood_training.finetuning.config import NetworkConfig
from meta_ood_training.finetuning.config_reader import ConfigError
from meta_ood_training.finetuning.loop.starting_network import open_network
from meta_ood_training.finetuning.loop_config import BundleConfig
from meta_ood_training.plain_arguments import as_tuple
from meta_ood_training.provenance.revision import source_revision


@dataclass(frozen=True, repr=False)
class BundleResult:
    """
    A bundle that was written.

    Attributes
    ----------
    bundle : Bundle
        With its digest.
    path : Path
        Its directory.
    size : int
        Of its files, in bytes.
    half_difference : float or None
        By how much float16 weights change the entropy of a scene at most; None where they are
        float32.

    """

    bundle: Bundle
    path: Path
    size: int
    half_difference: float | None = None

    def __repr__(self) -> str:
        """Return name, place and size in a line."""
        return f'BundleResult({self.bundle.model_id}, {self.size / 1e6:.1f} MB, in {self.path})'


def export_bundle(
    checkpoint: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    name: str | None = None,
    architecture: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    classes: str | Path | None = None,
    entropy_threshold: float | None = None,
    work_short_side: int | None = None,
    licence: str | None = None,
    data_terms: str | None = None,
    scores: str | Path | Sequence[str | Path] = (),
    half: bool = False,
    mix_head: bool = False,
    start: str | Path | None = None,
    start_share: float = 0.0,
) -> BundleResult:
    """
    Turn a checkpoint into a bundle that says where its weights come from.

    Parameters
    ----------
    checkpoint : str, Path or sequence of them
        Of `finetune`, or a published file; of several runs the weights are averaged.
    output : str or Path
        Directory of the bundle.
    name : str, optional
        Of the bundle; that of the directory where absent.
    architecture : str, optional
        A name of `build_network`, for a checkpoint that does not say.
    arguments : mapping, optional
        Keyword arguments of that architecture: {'scale': 2.0}.
    classes : str or Path, optional
        A classes.yaml that names the network's classes; as the run says, or Cityscapes'.
    entropy_threshold : float, optional
        In (0, 1]; as the run says.
    work_short_side : int, optional
        In pixels; as the run says.
    licence, data_terms : str
        Of the weights, and terms of the training data; asked for.
    scores : str, Path or sequence of them
        JSON files to state in its provenance.
    half : bool
        Store float16, if that changes no entropy by 0.01.
    mix_head : bool
        Make the outlier head of the run a decoder of the network, whose entropy then says what
        either knows; without, it lies beside the network, for `evaluate`.
    start : str or Path, optional
        Checkpoint or bundle that the runs began at, towards which the weights are moved back.
    start_share : float
        Its share in the result, in [0, 1], see `weight_averaging`.

    Returns
    -------
    BundleResult
        The bundle, its directory and size.

    Raises
    ------
    ConfigError
        A ValueError: the checkpoint is missing, damaged, of other classes or of an unknown
        network; licence or terms are not stated; or float16 would change too much.

    """
    paths, output = as_tuple(checkpoint, Path), Path(output)
    if not paths:
        raise ConfigError('a bundle needs a checkpoint, got none. Name one with --checkpoint.')
    if (start is None) != (not start_share):
        raise ConfigError(
            f'--start and --start-share go together, got {start} and {start_share:g}. Give both: '
            'the share of the start that the result keeps, such as 0.25.'
        )
    checkpoints = [open_checkpoint(one) for one in paths]
    path, opened = paths[0], checkpoints[0]
    refuse_average_of_heads(checkpoints, start)
    network_config = _describe_network(path, opened, architecture, arguments or {})
    names, colors = exported_classes(opened.facts, network_config.num_classes, classes)
    check_terms(licence, data_terms, opened)
    described = _describe_bundle(
        opened,
        {
            'entropy_threshold': entropy_threshold,
            'work_short_side': work_short_side,
        },
    )
    weights = read_average(paths, network_config, start, start_share)
    if mix_head:
        network_config, weights = with_outlier_decoder(network_config, weights, opened)
    network = open_network(replace(network_config, weights=''), {})
    load_weights(network, weights, source=str(path))
    stored = {key: value.contiguous() for key, value in network.state_dict().items()}
    difference = None
    if half:
        difference = half_difference(network)
        if not difference <= LARGEST_HALF_DIFFERENCE:  # NaN is not smaller either
            raise ConfigError(
                f'--half must not change an entropy by more than {LARGEST_HALF_DIFFERENCE}, got '
                f'{difference:.4f}. Leave it out: the bundle is then twice as large.'
            )
        stored = to_half(stored)
    bundle = save_bundle(
        Bundle(
            name=check_name(name, output),
            architecture=network_config.architecture,
            arguments=dict(network_config.arguments),
            input_mean=network.input_mean,
            input_std=network.input_std,
            class_names=names,
            class_colors=colors,
            entropy_threshold=described.entropy_threshold,
            work_short_side=described.work_short_side,
            min_size_px=described.min_size_px,
            provenance={
                **describe_origin(opened, as_tuple(scores, Path)),
                **_describe_average(checkpoints, start, start_share),
            },
            licence_of_weights=licence or '',
            data_terms=data_terms or '',
            weights=stored,
        ),
        output,
    )
    write_head(opened, bundle, output, is_mixed=mix_head)
    size = sum(file.stat().st_size for file in output.iterdir())
    return BundleResult(bundle, output, size, difference)


def describe_origin(checkpoint: Checkpoint, scores: Sequence[Path]) -> dict[str, Any]:
    """Return the provenance of a bundle."""
    facts = checkpoint.facts
    origin: dict[str, Any] = {'made': datetime.now(timezone.utc).date().isoformat()}
    if facts:
        config = facts['config']
        origin |= {
            'command': facts['command'],
            'revision': facts['revision'],
            'seed': config['training']['seed'],
            'step': facts['step'],
            'start': config['network']['weights'] or 'random weights',
            'objective': config['objective'].get('kind', 'entropy_maximization'),
            'data': list(config['data']),
            'machine': facts['machine'],
            **({'resumed': facts['resumed']} if 'resumed' in facts else {}),
            'validation_before': _rounded(facts['start_scores']),
            'validation': _rounded(facts['scores']),
        }
    else:
        origin |= {'command': 'converted as published', 'revision': source_revision()}
    for path in scores:
        origin.setdefault('scores', {})[path.stem] = json.loads(path.read_text(encoding='utf-8'))
    return origin


def _describe_network(
    path: Path, checkpoint: Checkpoint, architecture: str | None, arguments: Mapping[str, Any]
) -> NetworkConfig:
    if checkpoint.facts:
        return NetworkConfig(**checkpoint.facts['network'])
    if not architecture:
        raise ConfigError(
            f'{path} does not say which network it belongs to. '
            f'Add --architecture, one of {", ".join(NETWORK_NAMES)}.'
        )
    return NetworkConfig(architecture, dict(arguments), len(CITYSCAPES_NAMES))


def _describe_bundle(checkpoint: Checkpoint, given: Mapping[str, Any]) -> BundleConfig:
    stated = checkpoint.facts['config']['bundle'] if checkpoint.facts else {}
    known = {one.name for one in fields(BundleConfig)}
    described = BundleConfig(**{key: value for key, value in stated.items() if key in known})
    return replace(described, **{key: value for key, value in given.items() if value is not None})


def check_name(name: str | None, output: Path) -> str:
    """Return the name of a bundle: as given, or that of its directory."""
    if name:
        return name
    if output.resolve().name == 'default':
        raise ConfigError(
            "a bundle must have a name of its own, got the directory 'default', as the installed "
            'one is called. Give --name, or another --output.'
        )
    return output.resolve().name


def check_terms(
    licence: str | None, data_terms: str | None, checkpoint: Checkpoint | None = None
) -> None:
    """Refuse a bundle whose licence or data terms nobody stated, quoting its configuration."""
    stated: Mapping[str, Any] = {}
    if checkpoint is not None and checkpoint.facts:
        stated = checkpoint.facts['config']['bundle']
    asked = (
        ('--licence', 'the licence of its weights', licence, 'licence_of_weights'),
        ('--data-terms', 'the terms of its training data', data_terms, 'data_terms'),
    )
    for option, what, given, key in asked:
        if not given:
            said = str(stated.get(key) or '').strip()
            hint = f' The configuration of its run says {said!r}: is that so?' if said else ''
            raise ConfigError(f'a bundle must state {what}, got none. Add {option} TEXT.{hint}')


def _describe_average(
    checkpoints: Sequence[Checkpoint], start: str | Path | None, start_share: float
) -> dict[str, Any]:
    """Return what the provenance says of an average; the scores of one run are not its own."""
    if len(checkpoints) == 1 and start is None:
        return {}
    runs = [
        {key: one.facts.get(key) for key in ('command', 'revision', 'step')}
        | {'seed': one.facts['config']['training']['seed']}
        for one in checkpoints
        if one.facts
    ]
    began = {} if start is None else {'start': Path(start).name, 'start_share': start_share}
    nothing: dict[str, Any] = {
        key: {} for key in ('validation_before', 'validation') if checkpoints[0].facts
    }
    return {**nothing, 'average': {'of': len(checkpoints), **began, 'runs': runs}}


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {key: round(float(value), 4) for key, value in scores.items()}
