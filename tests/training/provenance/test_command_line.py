"""What a result says about the command that made it."""

from meta_ood_training.provenance.command_line import describe_command


def test_folders_of_the_machine_are_left_out():
    words = ['fit-meta', '/home/me/segments', '--data', 'select:folder=/x/y/overlay', '--seed=3']
    assert describe_command(words) == (
        'meta-ood-train fit-meta <segments> --data select:folder=<overlay> --seed=3'
    )


def test_relative_paths_and_numbers_stay():
    assert describe_command(['segments', 'runs/a', '--threshold', '0.5']) == (
        'meta-ood-train segments runs/a --threshold 0.5'
    )
