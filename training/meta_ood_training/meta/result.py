"""What `fit_meta` returns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle


@dataclass(frozen=True, repr=False)
class FitMetaResult:
    """
    A meta classifier that was judged out of fold, and where it lies.

    Attributes
    ----------
    bundle : Bundle or None
        The network with its classifiers and thresholds; None where no classifier could be fitted.
    chosen : str
        Classifier, entropy threshold and meta threshold in words.
    problem : str
        Why there is no classifier; empty where there is one.
    output : Path or None
        Where the bundle was written.
    report : dict
        All numbers, as in report.json.
    report_file : Path
        report.md, which shows them.
    figures : tuple of Path
        What was drawn.

    """

    bundle: Bundle | None
    chosen: str
    problem: str
    output: Path | None
    report: dict[str, Any]
    report_file: Path
    figures: tuple[Path, ...]

    def __repr__(self) -> str:
        """Return what was chosen, or why nothing was."""
        said = f'no classifier: {self.problem}' if self.problem else self.chosen
        return f'FitMetaResult({said}; {self.report_file})'
