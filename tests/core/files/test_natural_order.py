"""Numbers in names count as numbers."""

from pathlib import Path

from meta_ood_ros.core.files.natural_order import natural_order


def test_numbers_are_numbers_folders_come_one_by_one_and_endings_last():
    names = ['b/1.jpg', 'a10/2.jpg', 'a9/10.jpg', 'a9/9.png', 'a9/9.jpg', 'a9/9b.jpg', 'a9.jpg']
    expected = ['a9.jpg', 'a9/9.jpg', 'a9/9.png', 'a9/9b.jpg', 'a9/10.jpg', 'a10/2.jpg', 'b/1.jpg']
    for given in (names, names[::-1]):
        assert [one.as_posix() for one in natural_order(map(Path, given))] == expected
