"""A short form of the attack on writers; and that its readers see what is not whole."""

import json

import pytest

soak = pytest.importorskip('soak.kills')
WRITERS = {one.name: one for one in soak.WRITERS}


@pytest.mark.slow
def test_killed_writers_leave_the_old_or_the_new(capsys):
    quick = ('save_bundle', 'engine cache', 'bundle', 'overlay')
    rows = soak.run(4, 1, writers=quick)
    assert [what for what, _ in rows] == [f'kills of {name}' for name in quick]
    assert all('0 defects' in much for _, much in rows)


def test_readers_see_what_is_not_whole(tmp_path):
    from soak.tiny_data import make_bundle
    from soak.written import _store, save_bundle

    save_bundle(make_bundle(1), tmp_path / 'made')
    assert WRITERS['save_bundle'].read(tmp_path) == (1,)
    (tmp_path / 'made' / 'network.safetensors').unlink()
    with pytest.raises(ValueError, match='must hold network.safetensors'):
        WRITERS['save_bundle'].read(tmp_path)

    (tmp_path / 'cache').mkdir()
    _store(tmp_path / 'cache', 1)
    assert WRITERS['engine cache'].read(tmp_path / 'cache') == (1,)
    (engine,) = (tmp_path / 'cache' / 'made').iterdir()
    engine.write_bytes(engine.read_bytes()[:-1])
    with pytest.raises(ValueError, match='neither the old nor the new'):
        WRITERS['engine cache'].read(tmp_path / 'cache')

    (tmp_path / 'scores').mkdir()
    (tmp_path / 'scores' / 'scores.json').write_text(json.dumps({'arguments': {'seed': 1}}))
    (tmp_path / 'scores' / 'scores.md').write_text('![x](x.png)')
    (tmp_path / 'scores' / 'x.png').write_bytes(b'\x89PNG half')
    with pytest.raises(ValueError, match='x.png is no whole picture'):
        WRITERS['evaluate'].read(tmp_path)


@pytest.mark.parametrize(('before', 'after'), [((0,), (None,)), ((None,), (0,)), ((0, 1), (0, 0))])
def test_neither_is_a_defect(before, after):
    with pytest.raises(ValueError, match='neither the old .* nor the new 1 is there, but'):
        soak._check(before, after, 1, WRITERS['bundle'])
