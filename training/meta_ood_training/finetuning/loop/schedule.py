"""Optimizer step -> learning rate, as a share of its peak."""

import math

from meta_ood_training.finetuning.loop_config import OptimizerConfig

LAST_LEARNING_RATE = 0.05
"""Share of the peak at which a cosine ends."""


def learning_rate_share(step: int, *, config: OptimizerConfig, steps: int) -> float:
    """Return the learning rate of a step as a share of the peak."""
    share = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == 'cosine':
        fall = 0.5 * (1 + math.cos(math.pi * min(step / max(steps, 1), 1.0)))
        share *= LAST_LEARNING_RATE + (1 - LAST_LEARNING_RATE) * fall
    return share
