"""Which classes a run trains: what `classes.yaml` of its folders states, else Cityscapes'."""

from meta_ood_ros.core.classes import CITYSCAPES_NAMES
from meta_ood_training.datasets.classes_file import CLASSES_FILE, ClassTable, find_classes
from meta_ood_training.datasets.registry import FOLDERS
from meta_ood_training.finetuning.config import FinetuneConfig
from meta_ood_training.finetuning.config_reader import ConfigError
from meta_ood_training.finetuning.loop.starting_network import find_data


def find_run_classes(config: FinetuneConfig) -> ClassTable | None:
    """
    Return the classes that the folders of a run state, all the same; None without any.

    Raises
    ------
    ConfigError
        Two folders state different classes, or another number than the network has.

    """
    named = {one.data: 'street' for one in config.street if one.layout in FOLDERS}
    if config.validation is not None and config.validation.folder:
        named.setdefault(config.validation.folder, 'validation')
    first: tuple[str, ClassTable] | None = None
    for name, use in named.items():
        classes = find_classes(find_data(name, config.data, use=use))
        if classes is None:
            continue
        if len(classes.names) != config.network.num_classes:
            raise ConfigError(
                f'network.num_classes must be the {len(classes.names)} of {CLASSES_FILE} in '
                f'{name}, got {config.network.num_classes}. Set it.'
            )
        if first is not None and classes.names != first[1].names:
            raise ConfigError(
                f'{CLASSES_FILE} must name the same classes in the same order everywhere, got '
                f'{", ".join(first[1].names)} in {first[0]} and {", ".join(classes.names)} in '
                f'{name}. Correct one; ids may differ.'
            )
        first = first or (name, classes)
    return first[1] if first else None


def are_cityscapes(classes: ClassTable | None, num_classes: int) -> bool:
    """Return whether labels in Cityscapes train ids mean the classes of a run."""
    if classes is not None:
        return classes.names == tuple(CITYSCAPES_NAMES)
    return num_classes == len(CITYSCAPES_NAMES)
