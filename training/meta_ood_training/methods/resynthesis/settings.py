"""How generator and discrepancy networks are built and trained."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ResynthesisSettings:
    """
    What a run of `meta-ood-train resynthesis` is made of.

    Attributes
    ----------
    scale : float
        Sides of the grid of the resynthesis by those of the work grid.
    width : int
        Channels of the generator on its finest grid.
    generator_steps, discrepancy_steps : int
        Frames that the generator, and each of the two discrepancy networks, is trained on.
    generator_rate, discrepancy_rate : float
        Peaks of Adam's learning rate, which falls to a twentieth over the steps.
    perceptual_weight : float
        Of the difference in the network's features beside that of the pixels.
    swap_share : float
        Chance that a segment of a label map gets another class.
    smallest, largest : float
        Segments that may, by their share of the frame.
    ensemble_steps : int
        Weights of the ensemble are multiples of one over this.
    select_frames : int
        Frames of the selection data on which these are searched; 0 takes all.
    seed : int
        Decides everything.
    resume_steps : int
        Steps between two points from which a killed run can go on.

    """

    scale: float = 0.5
    width: int = 16
    generator_steps: int = 1200
    discrepancy_steps: int = 600
    generator_rate: float = 1e-3
    discrepancy_rate: float = 1e-3
    perceptual_weight: float = 0.5
    swap_share: float = 0.3
    smallest: float = 0.001
    largest: float = 0.3
    ensemble_steps: int = 10
    select_frames: int = 60
    seed: int = 0
    resume_steps: int = 100

    def __post_init__(self) -> None:
        for name in ('width', 'generator_steps', 'discrepancy_steps', 'ensemble_steps',
                     'resume_steps'):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f'{name} must be at least 1, got {getattr(self, name)}.')
        for name in ('scale', 'swap_share'):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f'{name} must lie in (0, 1], got {getattr(self, name)}.')
        for name in ('generator_rate', 'discrepancy_rate'):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(
                    f'{name} must lie in (0, 1], got {getattr(self, name)}. 1e-3 is usual.'
                )
        if not self.perceptual_weight >= 0:
            raise ValueError(
                f'perceptual_weight must not be negative, got {self.perceptual_weight}.'
            )
        if not 0 <= self.smallest < self.largest <= 1:
            raise ValueError(
                f'smallest and largest must be shares of the frame with smallest < largest, got '
                f'{self.smallest} and {self.largest}.'
            )
        for name in ('select_frames', 'seed'):
            if getattr(self, name) < 0:
                raise ValueError(f'{name} must not be negative, got {getattr(self, name)}.')
