"""
Damaged bags against their readers: `python -m soak.bags [--count N] [--seed N]`.

Small bags of every storage are recorded, damaged and read by the demo's source and by the source
of fit-meta, in a process whose memory and time are bounded. Every bag must be read, or refused in
a sentence; where messages are gone, that must be said.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, redirect_stdout
from importlib.util import find_spec
from io import StringIO
import json
from pathlib import Path
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from tempfile import TemporaryDirectory
import traceback
from types import FrameType, SimpleNamespace
from typing import Any

from meta_ood_ros.bags import Bag, TypeStore
from meta_ood_ros.bags.bag import IMAGE_TYPES, SEGMENTS_TYPE
from meta_ood_ros.demo.frames import BagSource
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from soak.damage import damage

#: What one bag of 100 kB may take: memory beyond that of the program itself, and time.
MEMORY_BYTES = 1_200_000_000
SECONDS = 20
_FRAMES = 8
_SIZE = (24, 32)
_TOPICS = ('/camera', '/labels', '/text')
_KINDS = {
    'mcap': (StoragePlugin.MCAP, CompressionMode.NONE),
    'mcap, packed chunks': (StoragePlugin.MCAP, CompressionMode.STORAGE),
    'mcap, packed messages': (StoragePlugin.MCAP, CompressionMode.MESSAGE),
    'db3': (StoragePlugin.SQLITE3, CompressionMode.NONE),
    'db3, packed messages': (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
    'db3, packed file': (StoragePlugin.SQLITE3, CompressionMode.FILE),
}


def run(count: int, seed: int) -> list[tuple[str, str]]:
    """
    Read so many damaged bags.

    Returns
    -------
    list of (str, str)
        What, and how much; rows that begin with 'DEFECT' are absent where all is well.

    """
    found: Counter[str] = Counter()
    defects: dict[str, str] = {}
    most = 0
    with TemporaryDirectory() as folder:
        _record_all(Path(folder))
        number = 0
        while number < count:
            for one in _attack(Path(folder), seed, number, count):
                number = one['number'] + 1
                found[one['outcome']] += 1
                most = max(most, one['memory'])
                if one['trouble']:
                    defects.setdefault(one['trouble'], f'{one["kind"]}, number {one["number"]}')
                    found['defects'] += 1
            if number < count:
                # It ended before its work was done: whatever came next killed it.
                defects.setdefault('the reader was killed', f'number {number}')
                found['defects'] += 1
                number += 1
    rows = [
        ('damaged bags', f'{count} (seed {seed})'),
        ('read whole', str(found['whole'])),
        ('read in part, and said', str(found['part'])),
        ('refused with a sentence', str(found['refused'])),
        ('most memory of one bag', f'{most / 1e6:.0f} MB'),
        ('defects', str(found['defects'])),
    ]
    return rows + [(f'DEFECT at {where}', what) for what, where in defects.items()]


def _record_all(folder: Path) -> None:
    """Record the bags that are to be damaged: noise, flat labels, and text."""
    types = TypeStore()
    types.add(SEGMENTS_TYPE)
    store = types.store
    known = store.types
    image, text = IMAGE_TYPES[0], 'std_msgs/msg/String'
    rng = np.random.default_rng(0)
    for name, (plugin, mode) in _KINDS.items():
        writer = Writer(folder / name, version=9, storage_plugin=plugin)
        writer.set_compression(mode, CompressionFormat.ZSTD)
        with writer:
            topics = [
                writer.add_connection(topic, kind, typestore=store)
                for topic, kind in zip(_TOPICS, (image, image, text), strict=True)
            ]
            for number in range(_FRAMES):
                header = known['std_msgs/msg/Header'](
                    known['builtin_interfaces/msg/Time'](100 + number, 5), 'lens'
                )
                pixels = rng.integers(0, 256, (*_SIZE, 3), dtype=np.uint8).reshape(-1)
                labels = np.full(_SIZE, number, np.uint8).reshape(-1)
                height, width = _SIZE
                messages = (
                    known[image](header, height, width, 'rgb8', 0, 3 * width, pixels),
                    known[image](header, height, width, 'mono8', 0, width, labels),
                    known[text](f'message {number}'),
                )
                for topic, message in zip(topics, messages, strict=True):
                    data = bytes(store.serialize_cdr(message, topic.msgtype))
                    writer.write(topic, number * 10**9, data)


def _attack(folder: Path, seed: int, first: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield the outcome of each bag, from a process of its own."""
    words = [str(folder), str(seed), str(first), str(count)]
    with subprocess.Popen(
        [sys.executable, '-m', 'soak.bags', '--attack', *words],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as process:
        for line in process.stdout or ():
            yield json.loads(line)


def _read_all(folder: Path, seed: int, first: int, count: int) -> None:
    """Damage and read bags one after the other; print an outcome a line."""
    readers = [_read_bag, _read_demo]
    if find_spec('meta_ood_training') is not None:
        readers.append(_read_labelled)
    for reader in readers:  # what they import is not the bag's
        reader(folder / 'mcap')
    size = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_BYTES,) * 2)
    signal.signal(signal.SIGALRM, _too_long)
    for number in range(first, count):
        rng = random.Random(f'{seed} {number}')
        kind = list(_KINDS)[number % len(_KINDS)]
        work = folder / 'work'
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(folder / kind, work)
        _damage_bag(work, rng)
        before = _most_memory()
        outcomes, trouble = [], ''
        for reader in readers:
            signal.alarm(SECONDS)
            try:
                outcomes.append(reader(work))
            except Exception:  # whatever it is, it is what is looked for
                place = traceback.extract_tb(sys.exc_info()[2])[-1]
                what = traceback.format_exc(limit=0).strip().splitlines()[-1]
                trouble = (
                    f'{reader.__name__}: {what} at {Path(place.filename).name}:{place.lineno}'
                )
            finally:
                signal.alarm(0)
        if 'silent' in outcomes:
            trouble = trouble or 'messages are gone without a word'
        described = {
            'number': number,
            'kind': kind,
            'outcome': outcomes[0] if outcomes and not trouble else 'defect',
            'trouble': trouble,
            'memory': _most_memory() - before,
        }
        print(json.dumps(described), flush=True)


def _most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _too_long(_: int, __: FrameType | None) -> None:
    raise TimeoutError(f'not done within {SECONDS} s')


def _damage_bag(folder: Path, rng: random.Random) -> None:
    """Damage the storage file, or at times what lies beside it."""
    files = sorted(folder.iterdir(), key=lambda one: one.name == 'metadata.yaml')
    file = files[rng.random() < 0.1]
    if file.suffix == '.db3' and rng.random() < 0.4:
        _damage_rows(file, rng)
        return
    content = bytearray(file.read_bytes())
    if file.suffix == '.mcap' and rng.random() < 0.4:
        content = _damage_record(bytes(content), rng)
    else:
        for _ in range(rng.choice((1, 1, 1, 2, 8))):
            damage(content, rng)
    file.write_bytes(content)


def _damage_rows(file: Path, rng: random.Random) -> None:
    """Write what rosbag2 never does where a sound database lets it."""
    column = rng.choice(('topic_id', 'timestamp', 'data', 'name', 'type'))
    table = 'topics' if column in ('name', 'type') else 'messages'
    value = rng.choice((
        "'text'", f'CAST({column} AS TEXT)', 'zeroblob(3)', 'zeroblob(11)', 'zeroblob(20000000)',
        '-1', '1e300', "x'28b52ffd'", "x'00010000'", f'{column} || {column}', "''",
    ))  # fmt: skip
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(
            f'UPDATE {table} SET {column} = {value} WHERE id = ?', (1 + rng.randrange(3),)
        )


def _damage_record(content: bytes, rng: random.Random) -> bytearray:
    """Damage one record of the first chunk and write its length, and the chunk's, as they are."""
    chunk = 8 + 9 + int.from_bytes(content[9:17], 'little')
    size = int.from_bytes(content[chunk + 1 : chunk + 9], 'little')
    begin = chunk + 9 + 32 + int.from_bytes(content[chunk + 37 : chunk + 41], 'little') + 8
    records, place = [], begin
    while place < chunk + 9 + size:
        length = int.from_bytes(content[place + 1 : place + 9], 'little')
        records.append((content[place], content[place + 9 : place + 9 + length]))
        place += 9 + length
        if place > chunk + 9 + size:  # it is packed, and this was no record
            damaged = bytearray(content)
            damaged[chunk + 25 : chunk + 33] = rng.choice((0, 2**31, 2**40)).to_bytes(8, 'little')
            return damaged
    number = rng.randrange(len(records)) if rng.random() < 0.5 else rng.randrange(4)
    code, inner = records[number]
    changed = bytearray(inner)
    for _ in range(rng.choice((1, 3))):
        damage(changed, rng)
    records[number] = code, bytes(changed)
    plain = b''.join(bytes([code]) + len(one).to_bytes(8, 'little') + one for code, one in records)
    return bytearray(
        content[: chunk + 1]
        + (len(plain) + begin - chunk - 9).to_bytes(8, 'little')
        + content[chunk + 9 : begin - 8]
        + len(plain).to_bytes(8, 'little')
        + plain
        + content[chunk + 9 + size :]
    )


def _read_bag(path: Path) -> str:
    """Return 'whole', 'part', 'refused' or 'silent': fewer messages than there were, unsaid."""
    try:
        bag = Bag(path)
    except ValueError:
        return 'refused'
    whole = 0
    for one in bag.read():
        try:
            one.message  # noqa: B018
            whole += 1
        except ValueError:
            whole += 1  # it was delivered, and says what is wrong with it
    if bag.loss:
        return 'part'
    return 'whole' if whole >= _FRAMES * len(_TOPICS) else 'silent'


def _read_demo(path: Path) -> str:
    try:
        source = BagSource(path, None, _TOPICS[0])
    except ValueError:
        return 'refused'
    frames = list(source)
    return 'whole' if len(frames) >= _FRAMES else 'part' if source.loss() else 'silent'


def _read_labelled(path: Path) -> str:
    from meta_ood_training.segments.labelled_bags import BagFrames, BagOptions

    options = BagOptions(image_topic=_TOPICS[0], label_topic=_TOPICS[1])
    said = StringIO()
    try:
        with redirect_stdout(said):
            bundle: Any = SimpleNamespace(num_classes=19)
            bag = BagFrames(path, options, bundle)
            frames = list(bag.share(0, 1))
    except ValueError:
        return 'refused'
    is_said = bag.losses or said.getvalue()
    return 'whole' if len(frames) >= _FRAMES else 'part' if is_said else 'silent'


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 where there are defects."""
    parser = argparse.ArgumentParser(prog='python -m soak.bags', description=__doc__)
    parser.add_argument('--count', type=int, default=1200)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--attack', nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.attack:
        folder, *numbers = options.attack
        _read_all(Path(folder), *map(int, numbers))
        return 0
    rows = run(options.count, options.seed)
    for what, much in rows:
        print(f'{what:<30} | {much}')
    return int(dict(rows)['defects'] != '0')


if __name__ == '__main__':
    sys.exit(main())
