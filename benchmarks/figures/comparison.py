"""Two things done in turns -> how much faster (or dearer) one is, with its spread."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
import gc
import statistics
import time
from typing import Any

KINDS = ('speed-up', 'cost', 'difference')


@dataclass(frozen=True)
class Options:
    """
    What the user may change about a run.

    Attributes
    ----------
    rounds : int
        How often everything is measured; figures with slow baselines take fewer.

    """

    rounds: int = 9
    image_size: tuple[int, int] = (1024, 2048)
    segments: int = 150


@dataclass(frozen=True)
class Comparison:
    """
    One row of a figure: a subject beside its baseline, measured in turns.

    Attributes
    ----------
    kind : str
        'speed-up': ratio = baseline / subject, the larger the better; 'cost': ratio = subject /
        baseline, the smaller the better; 'difference': subject - baseline in `unit`, the smaller
        the better, for what comes on top of a baseline rather than in proportion to it.
    target : float or None
        Where the outcome (ratio or difference) shall be at least ('speed-up') or at most (else).
    cpu_ratio : float or None
        The same ratio of the processor time of all threads, which other processes disturb less.
    details : dict
        Further numbers that explain the row, such as the time of each stage.

    """

    case: str
    subject: str
    baseline: str
    subject_values: list[float]
    baseline_values: list[float]
    unit: str = 'ms'
    kind: str = 'speed-up'
    target: float | None = None
    cpu_ratio: float | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a kind that does not exist: it would silently be judged as another."""
        if self.kind not in KINDS:
            raise ValueError(
                f'kind must be one of {", ".join(KINDS)}, got {self.kind!r}. Check its spelling.'
            )

    @property
    def ratios(self) -> list[float]:
        """Return the ratio of each round: noise that lasts longer than a round cancels."""
        pairs = zip(self.subject_values, self.baseline_values, strict=True)
        if self.kind == 'speed-up':
            return [baseline / subject for subject, baseline in pairs]
        return [subject / baseline for subject, baseline in pairs]

    @property
    def ratio(self) -> float:
        """Return the median ratio."""
        return statistics.median(self.ratios)

    @property
    def outcomes(self) -> list[float]:
        """Return what the target is about in each round: differences or ratios."""
        if self.kind != 'difference':
            return self.ratios
        pairs = zip(self.subject_values, self.baseline_values, strict=True)
        return [subject - baseline for subject, baseline in pairs]

    @property
    def outcome(self) -> float:
        """Return the median outcome."""
        return statistics.median(self.outcomes)

    @property
    def met(self) -> bool | None:
        """Return whether the median outcome meets the target, or None without one."""
        if self.target is None:
            return None
        if self.kind == 'speed-up':
            return self.outcome >= self.target
        return self.outcome <= self.target

    def to_record(self) -> dict[str, Any]:
        """Return everything, with medians and quartiles, as JSON can hold it."""
        return {
            **asdict(self),
            'ratio': self.ratio,
            'ratio_quartiles': find_quartiles(self.ratios),
            'outcome': self.outcome,
            'outcome_quartiles': find_quartiles(self.outcomes),
            'subject_median': statistics.median(self.subject_values),
            'baseline_median': statistics.median(self.baseline_values),
            'met': self.met,
        }


def find_quartiles(values: list[float]) -> tuple[float, float]:
    """Return the lower and upper quartile; of a single value, that value."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method='inclusive')
    return low, high


@dataclass(frozen=True)
class Times:
    """Milliseconds of one run, one number a round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def compare_times(
    case: str,
    subject: str,
    baseline: str,
    times: tuple[Times, Times],
    *,
    kind: str = 'speed-up',
    target: float | None = None,
    details: dict[str, Any] | None = None,
) -> Comparison:
    """Return a row of wall times with the ratio of processor times beside it."""
    cost = statistics.median(times[0].cpu) / statistics.median(times[1].cpu)
    return Comparison(
        case,
        subject,
        baseline,
        times[0].wall,
        times[1].wall,
        kind=kind,
        target=target,
        cpu_ratio=cost if kind == 'cost' else 1 / cost,
        details=details or {},
    )


def time_in_turns(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    before: Mapping[str, Callable[[], object]] | None = None,
) -> dict[str, Times]:
    """
    Return how long each run takes in each round.

    Parameters
    ----------
    runs : dict of str to callable
        What is measured. All are run once before, to compile and to warm caches.
    rounds : int
        How often; in every round each run comes once, so that all see the same machine.
    before : dict of str to callable, optional
        What is done right before a run, untimed, such as writing its input: else one that shares
        its input with the run before finds it in the caches, and another does not.

    """
    for run in runs.values():
        run()
    times = {name: Times() for name in runs}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, run in runs.items():
                if before:
                    before[name]()
                wall, cpu = time.perf_counter(), time.process_time()
                run()
                times[name].wall.append((time.perf_counter() - wall) * 1e3)
                times[name].cpu.append((time.process_time() - cpu) * 1e3)
    finally:
        gc.enable()
    return times
