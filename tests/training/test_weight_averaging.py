"""Averages of weights in closed form, and what cannot be averaged."""

from meta_ood_training.weight_averaging import average_weights
import pytest
import torch


def weights(value, dtype=torch.float32, counter=7):
    return {'w': torch.full((2, 3), value, dtype=dtype), 'n': torch.tensor(counter)}


def test_the_mean_of_runs_is_moved_back_by_the_share_of_the_start():
    runs = [weights(1.0, counter=3), weights(2.0, counter=4), weights(6.0, counter=5)]
    assert set(average_weights(runs)['w'].unique().tolist()) == {3.0}
    moved = average_weights(runs, start=weights(-1.0), start_share=0.25)
    assert set(moved['w'].unique().tolist()) == {0.75 * 3.0 + 0.25 * -1.0}
    assert int(moved['n']) == 3  # a counter is the first run's
    back = average_weights(runs, start=weights(-1.0), start_share=1.0)
    assert torch.equal(back['w'], weights(-1.0)['w'])


def test_one_run_alone_is_itself_and_what_the_start_lacks_stays():
    run = weights(1.5)
    alone = average_weights([run])
    assert torch.equal(alone['w'], run['w'])
    head = {**run, 'head': torch.ones(1)}
    moved = average_weights([head], start=weights(0.5), start_share=0.5)
    assert float(moved['head']) == 1.0
    assert float(moved['w'][0, 0]) == 1.0


def test_the_type_is_that_of_the_first_run_and_the_mean_is_taken_in_double():
    half = torch.float16
    mean = average_weights([weights(60000.0, half), weights(60000.0, half)])
    assert mean['w'].dtype == half
    assert float(mean['w'][0, 0]) == float(torch.tensor(60000.0, dtype=half))


@pytest.mark.parametrize(
    ('runs', 'options', 'message'),
    [
        ([], {}, 'runs must hold at least one set of weights, got none'),
        ([weights(1.0)], {'start_share': 1.5}, r'start_share must lie in \[0, 1\], got 1.5'),
        ([weights(1.0)], {'start_share': 0.5}, 'start_share 0.5 needs start, got None'),
        (
            [weights(1.0), {'w': torch.zeros(2, 4), 'n': torch.tensor(1)}],
            {},
            'run 1 has other names or shapes than run 0',
        ),
        ([weights(1.0), {'w': torch.zeros(2, 3)}], {}, 'run 1 has other names or shapes'),
        (
            [weights(1.0)],
            {'start': {'w': torch.zeros(3)}, 'start_share': 0.5},
            r'got w of shape \(3,\), which they have as \(2, 3\)',
        ),
    ],
)
def test_what_cannot_be_averaged_is_refused(runs, options, message):
    with pytest.raises(ValueError, match=message):
        average_weights(runs, **options)
