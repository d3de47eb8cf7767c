"""File or record, overrides and places of data -> the configuration of one run."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from difflib import get_close_matches
import json
from pathlib import Path
from typing import Any

from meta_ood_training.finetuning.config import FinetuneConfig
from meta_ood_training.finetuning.config_reader import ConfigError, read_config
import yaml


def open_config(
    config: FinetuneConfig | str | Path,
    data: Mapping[str, str | Path] | None = None,
    overrides: Sequence[str] = (),
) -> FinetuneConfig:
    """Return the configuration of a run, read where it is a file, with the places of its data."""
    if isinstance(config, FinetuneConfig):
        if overrides:
            raise ConfigError(
                f'overrides change a file, got {", ".join(overrides)} beside a record. Change it '
                'with dataclasses.replace.'
            )
    else:
        config = read_config(FinetuneConfig, Path(config), list(overrides))
    named = {name: str(place) for name, place in (data or {}).items()}
    config = replace(config, data={**config.data, **named})
    _check_names(config, named)
    return config


def to_yaml(config: FinetuneConfig) -> str:
    """Return a configuration with all its defaults as text that `read_config` takes."""
    return yaml.safe_dump(json.loads(json.dumps(asdict(config))), sort_keys=False, width=99)


def data_names(config: FinetuneConfig) -> set[str]:
    """Return all words of a configuration that the place of data may be given for."""
    return set(_words({**asdict(config), 'data': None, 'bundle': None}))


def _check_names(config: FinetuneConfig, given: Collection[str]) -> None:
    """Refuse the place of data that nothing in the configuration names."""
    known = data_names(config)
    for name in given:
        if name not in known:
            nearest = get_close_matches(name, known, 1, 0.6)
            hint = f' Did you mean {nearest[0]!r}?' if nearest else ' Leave it out.'
            raise ConfigError(
                f'--data must give the place of data that the configuration names, got {name!r}, '
                f'which it does not.{hint}'
            )


def _words(value: Any) -> Iterator[str]:
    """Yield every string in nested mappings and sequences."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _words(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _words(one)
