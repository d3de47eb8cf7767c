"""The learning rate at the steps where it is known."""

from itertools import pairwise

from meta_ood_training.finetuning.loop.schedule import learning_rate_share
from meta_ood_training.finetuning.loop_config import OptimizerConfig
import pytest


def test_a_constant_rate_is_the_papers():
    assert [
        learning_rate_share(step, config=OptimizerConfig(1e-5), steps=10) for step in (0, 9)
    ] == [1.0, 1.0]


def test_warm_up_rises_in_equal_steps_and_a_cosine_falls_to_a_twentieth():
    config = OptimizerConfig(1e-3, schedule='cosine', warmup_steps=4)
    shares = [learning_rate_share(step, config=config, steps=100) for step in range(101)]
    assert shares[0] == pytest.approx(0.25)
    assert shares[50] == pytest.approx((1 + 0.05) / 2)
    assert shares[100] == pytest.approx(0.05)
    assert all(later < earlier for earlier, later in pairwise(shares[4:]))
