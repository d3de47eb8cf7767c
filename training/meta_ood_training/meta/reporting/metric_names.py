"""Names of segment metrics with the names of the classes that they are about."""

from collections.abc import Sequence

_OF_A_CLASS = ('probability_mean_', 'neighbour_share_')


def name_metrics(names: Sequence[str], class_names: Sequence[str]) -> tuple[str, ...]:
    """Return `probability_mean_11` as `probability_mean_person`; other names as they are."""
    return tuple(_name(one, class_names) for one in names)


def _name(metric: str, class_names: Sequence[str]) -> str:
    for start in _OF_A_CLASS:
        number = metric.removeprefix(start)
        if metric.startswith(start) and number.isdigit() and int(number) < len(class_names):
            return f'{start}{class_names[int(number)]}'
    return metric
