"""Streaming pixel scores against scikit-learn, by hand, and under merging."""

from meta_ood_training.scores import (
    find_decisive_bins,
    GroupCounts,
    measure_scores,
    precision_recall_curve,
    RefinedCounts,
    roc_curve,
    ScoreHistogram,
)
from meta_ood_training.scores.bootstrap import to_cells
from meta_ood_training.scores.histogram import to_ordered_keys, to_scores
import numpy as np
import pytest
from sklearn import metrics


def oracle(scores, is_ood):
    """Return AUROC, AP, FPR95 and max J from scikit-learn and its curve."""
    fpr, tpr, _ = metrics.roc_curve(is_ood, scores, drop_intermediate=False)
    return (
        metrics.roc_auc_score(is_ood, scores),
        metrics.average_precision_score(is_ood, scores),
        fpr[np.searchsorted(tpr, 0.95)],
        (tpr - fpr).max(),
    )


def both_passes(images):
    """Return the scores of one pass and of two."""
    histogram = ScoreHistogram()
    for scores, is_ood in images:
        histogram.update(scores, is_ood)
    counts = histogram.counts()
    refined = RefinedCounts(counts, find_decisive_bins(counts))
    for scores, is_ood in images:
        refined.update(scores, is_ood)
    return measure_scores(counts), measure_scores(refined.counts())


def random_images(seed, kind):
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(5):
        is_ood = rng.random(4000) < 0.05
        scores = rng.normal(is_ood * 1.0, 1.0)
        if kind == 'entropy':
            scores = 1 / (1 + np.exp(-scores))
        elif kind == 'crowded':  # all scores within a few bins
            scores = 0.5 + 1e-5 * scores
        elif kind == 'saturated':  # half of all above 1 - 2**-11, some at 1
            scores = 1 / (1 + np.exp(-8 - 3 * scores))
        elif kind == 'tied':
            scores = np.round(scores, 1)
        images.append((scores.astype(np.float32), is_ood))
    return images


@pytest.mark.parametrize('kind', ['normal', 'entropy', 'crowded', 'saturated', 'tied'])
@pytest.mark.parametrize('seed', [0, 1])
def test_scores_agree_with_scikit_learn_within_the_printed_bound(seed, kind):
    images = random_images(seed, kind)
    scores = np.concatenate([scores for scores, _ in images])
    is_ood = np.concatenate([is_ood for _, is_ood in images])
    auroc, average_precision, fpr95, max_j = oracle(scores, is_ood)
    first, second = both_passes(images)
    for value in (first, second):
        assert abs(value.auroc - auroc) <= value.auroc_bound + 1e-12
        assert abs(value.average_precision - average_precision) <= (
            value.average_precision_bound + 1e-12
        )
        assert abs(value.fpr95 - fpr95) <= value.fpr95_bound + 1e-12
        assert abs(value.max_j - max_j) <= value.max_j_bound + 1e-12
    assert second.fpr95 == pytest.approx(fpr95, abs=1e-12)
    assert second.max_j == pytest.approx(max_j, abs=1e-12)
    if kind == 'entropy':
        assert first.auroc_bound < 1e-4
        assert first.average_precision_bound < 1e-2
    if kind == 'saturated':
        assert first.average_precision == pytest.approx(average_precision, abs=1e-4)
        assert max(first.average_precision_bound, first.auroc_bound) < 1e-3


def test_scores_next_to_one_are_told_apart_and_ties_at_one_are_known():
    # 30 OoD and 70 in-distribution pixels at 1, which is .3 for each; below it every float32 for
    # 2**-7: first one OoD to one other, then the others alone
    steps = np.arange(1, 100_001)
    scores = np.concatenate([np.ones(100), 1 - steps * 2.0**-24]).astype(np.float32)
    is_ood = np.concatenate([np.arange(100) < 30, (steps <= 2000) & (steps % 2 == 1)])
    histogram = ScoreHistogram()
    for part in (slice(None, 50_000), slice(50_000, None)):
        histogram.update(scores[part], is_ood[part])
    found = np.arange(1, 1001)
    average = (30 * 0.3 + ((30 + found) / (100 + 2 * found - 1)).sum()) / 1030
    value = measure_scores(histogram.counts())
    assert value.average_precision == pytest.approx(average, abs=1e-12)
    assert (value.average_precision_bound, value.auroc_bound, value.fpr95_bound) == (0, 0, 0)
    again = ScoreHistogram()
    again.add_arrays(histogram.to_arrays())
    assert measure_scores(again.counts()) == value


def test_the_bins_of_all_scores_stand_in_their_order():
    one = int(to_ordered_keys(np.ones(1))[0])
    edge = one + 64 - 2**17  # from here to one + 63 each key has its bin
    keys = np.array([one - 2**23, edge - 64, edge - 1, edge, one - 1, one, one + 63, one + 64])
    histogram = ScoreHistogram()
    histogram.update(to_scores(keys), np.arange(8) % 2 == 0)
    counts = histogram.counts()
    joined = [key for key in keys if key != edge - 64]  # shares the bin of the key behind it
    expected = [key if key != edge - 1 else edge - 64 for key in joined]
    np.testing.assert_array_equal(counts.keys, expected[::-1])
    np.testing.assert_array_equal(counts.exact, [False, True, True, True, True, False, False])
    scores = np.concatenate([[-1, 0, 1e-9, 0.3, 0.4999], np.linspace(0.5, 1, 3000), [1.1, 7, 1e9]])
    cells = to_cells(scores)
    assert (np.diff(cells) >= 0).all()
    near = to_cells(1 - 2.0 ** -np.arange(1, 25))
    assert (np.diff(near) == 256).all()  # each binade of the distance to 1


def test_all_bins_refined_is_exact_and_has_no_bound():
    images = random_images(3, 'crowded')
    histogram = ScoreHistogram()
    for scores, is_ood in images:
        histogram.update(scores, is_ood)
    counts = histogram.counts()
    assert len(counts.keys) < 50  # so binning alone would be far off
    refined = RefinedCounts(counts, np.arange(len(counts.keys)))
    for scores, is_ood in images:
        refined.update(scores, is_ood)
    exact = measure_scores(refined.counts())
    scores = np.concatenate([scores for scores, _ in images])
    is_ood = np.concatenate([is_ood for _, is_ood in images])
    values = exact.auroc, exact.average_precision, exact.fpr95, exact.max_j
    assert values == pytest.approx(oracle(scores, is_ood), abs=1e-12)
    bounds = exact.auroc_bound, exact.average_precision_bound, exact.fpr95_bound
    assert bounds == (0, 0, 0)


def test_values_by_hand():
    # descending: 1.0 OoD | 0.75 in, OoD (tied) | 0.5 in | 0.25 OoD | 0.125 in
    histogram = ScoreHistogram()
    histogram.update(
        np.array([[1.0, 0.75, 0.75], [0.5, 0.25, 0.125]], np.float32),
        np.array([[True, False, True], [False, True, False]]),
    )
    value = measure_scores(histogram.counts())
    # pairs won: 3 + 2.5 + 1 of 9; AP = (1 + 2/3 + 3/5) / 3; all OoD found at 0.25 with 2 of 3 in
    assert value.auroc == pytest.approx(6.5 / 9)
    assert value.average_precision == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert value.fpr95 == pytest.approx(2 / 3)
    assert value.threshold95 == 0.25
    assert value.max_j == pytest.approx(2 / 3 - 1 / 3)
    assert value.prevalence == 0.5
    fpr, tpr = roc_curve(histogram.counts())
    np.testing.assert_allclose(fpr, [0, 0, 1 / 3, 2 / 3, 2 / 3, 1])
    np.testing.assert_allclose(tpr, [0, 1 / 3, 2 / 3, 2 / 3, 1, 1])
    recall, precision = precision_recall_curve(histogram.counts())
    np.testing.assert_allclose(recall, [1 / 3, 2 / 3, 2 / 3, 1, 1])
    np.testing.assert_allclose(precision, [1, 2 / 3, 1 / 2, 3 / 5, 1 / 2])


def test_constant_score_is_a_random_score():
    histogram = ScoreHistogram()
    histogram.update(np.full(1000, 0.3, np.float32), np.arange(1000) < 100)
    value = measure_scores(histogram.counts())
    assert value.average_precision == value.prevalence == 0.1
    assert (value.auroc, value.fpr95, value.max_j) == (0.5, 1.0, 0.0)


def test_keys_keep_order_and_equality():
    scores = np.array(
        [-np.inf, -1e30, -1.0, -1e-40, -0.0, 0.0, 1e-40, 1e-7, 0.5, 1.0, 3e38, np.inf], np.float32
    )
    keys = to_ordered_keys(scores).astype(np.int64)
    assert keys[4] == keys[5]
    assert (np.diff(np.delete(keys, 4)) > 0).all()
    np.testing.assert_array_equal(to_scores(keys.astype(np.uint32)), scores)


def test_order_of_images_and_merging_change_nothing():
    images = random_images(5, 'normal')
    straight, left, right = ScoreHistogram(), ScoreHistogram(), ScoreHistogram()
    for number, image in enumerate(images):
        straight.update(*image)
        (left if number % 2 else right).update(*image)
    left.merge(right)
    assert measure_scores(left.counts()) == measure_scores(straight.counts())
    assert (left.positives, left.negatives) == (straight.positives, straight.negatives)


def test_what_cannot_be_scored_is_refused():
    histogram = ScoreHistogram()
    with pytest.raises(ValueError, match=r'scores must not be NaN, got 1 NaN among 2'):
        histogram.update(np.array([0.5, np.nan]), np.array([True, False]))
    with pytest.raises(ValueError, match=r'must have one shape and is_ood must be bool'):
        histogram.update(np.zeros(3), np.zeros(2, bool))
    with pytest.raises(ValueError, match=r'got 0 and 0. Check the label mapping'):
        measure_scores(histogram.counts())
    histogram.update(np.zeros(3), np.zeros(3, bool))
    with pytest.raises(ValueError, match=r'got 0 and 3'):
        measure_scores(histogram.counts())


def test_second_pass_over_other_scores_is_refused():
    images = random_images(0, 'normal')
    histogram = ScoreHistogram()
    for image in images:
        histogram.update(*image)
    counts = histogram.counts()
    refined = RefinedCounts(counts, find_decisive_bins(counts))
    refined.update(*images[0])
    with pytest.raises(ValueError, match='the second pass must see the pixels of the first'):
        refined.counts()


def test_intervals_draw_groups_and_not_pixels():
    rng = np.random.default_rng(0)
    varied, equal = GroupCounts(), GroupCounts()
    for group in range(12):
        is_ood = rng.random(3000) < 0.1
        # In `varied` a third of the groups is hopeless: the truth depends on who is drawn.
        strength = 0.0 if group % 3 == 0 else 2.0
        varied.update(f'g{group}', rng.normal(strength * is_ood), is_ood)
        equal.update(f'g{group}', rng.normal(1.2 * is_ood), is_ood)
    wide, narrow = varied.intervals()['auroc'], equal.intervals()['auroc']
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    assert narrow.low < 0.802 < narrow.high  # Phi(1.2 / sqrt 2)
    assert varied.intervals(seed=1) == varied.intervals(seed=1)


def test_groups_that_share_a_block_or_a_source_are_drawn_as_one():
    values = np.array([0.9, 0.6, 0.4, 0.1]), np.array([True, False, True, False])
    better = np.array([0.9, 0.8, 0.2, 0.1]), np.array([True, True, False, False])
    chain, alike = GroupCounts(), GroupCounts()
    # a1 - a2 by block a, a2 - b1 by source 2, b1 - b by block b; and c
    for group, one in (('a+1', values), ('a+2', better), ('b+2', values), ('b', better)):
        chain.update(group, *one)
        alike.update('a', *one)
    assert chain.intervals() == {}
    for counts in (chain, alike):
        counts.update('c', *values)
    assert chain.intervals(draws=100) == alike.intervals(draws=100) != {}


def test_intervals_of_one_group_do_not_exist():
    counts = GroupCounts()
    counts.update('only', np.array([0.1, 0.9]), np.array([False, True]))
    assert counts.intervals() == {}


def test_interval_of_equal_groups_has_no_width():
    counts = GroupCounts()
    for group in 'abc':
        counts.update(group, np.array([0.9, 0.6, 0.4, 0.1]), np.array([True, False, True, False]))
    for interval in counts.intervals(draws=50).values():
        assert interval.low == pytest.approx(interval.high)
    assert counts.intervals(draws=50)['auroc'].low == pytest.approx(0.75)
