"""Bags that lie, are damaged, or not of ROS 2: nothing is lost, silent or without bound."""

import contextlib
import io
import os
from pathlib import Path
import resource
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib

import lz4.frame
from meta_ood_ros.bags import Bag, DamagedMessageError, TypeStore
from meta_ood_ros.bags.bag import IMAGE_TYPES, SEGMENTS_TYPE
from meta_ood_ros.bags.files import BagReader
from meta_ood_ros.bags.recorded import BagMessage
from meta_ood_ros.bags.unpacking import LIMIT, zstd
from meta_ood_ros.demo.frames import BagSource
import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

IMAGE, COMPRESSED = IMAGE_TYPES
MAGIC = b'\x89MCAP0\r\n'
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, STATISTICS, DATA_END = 1, 2, 3, 4, 5, 6, 11, 15
STORE = TypeStore()


# ---- MCAP by hand, from its specification ----


def record(code, content):
    return struct.pack('<BQ', code, len(content)) + content


def string(text):
    return struct.pack('<I', len(text.encode())) + text.encode()


def schema(number=1, name=IMAGE, encoding='ros2msg', text='uint8 never_read'):
    return record(
        SCHEMA, struct.pack('<H', number) + string(name) + string(encoding) + string(text)
    )


def channel(number=1, topic='/camera', encoding='cdr', schema=1):
    head = struct.pack('<HH', number, schema)
    return record(CHANNEL, head + string(topic) + string(encoding) + string(''))


def message(data, number=1, time=0):
    return record(MESSAGE, struct.pack('<HIQQ', number, 0, time, time) + data)


def chunk(plain, compression='', *, packed=None, claimed=None, checksum=True):
    if packed is None:
        packed = {'': bytes, 'zstd': zstd.compress, 'lz4': lz4.frame.compress}[compression](plain)
    size = len(plain) if claimed is None else claimed
    checksum = zlib.crc32(plain) if checksum else 0
    head = struct.pack('<QQQI', 0, 0, size, checksum) + string(compression)
    return record(CHUNK, head + struct.pack('<Q', len(packed)) + packed)


def write_mcap(path, *records, profile='ros2', summary=b''):
    """Write an MCAP file; a summary goes behind its data."""
    content = MAGIC + record(HEADER, string(profile) + string('by hand')) + b''.join(records)
    content += record(DATA_END, bytes(4))
    footer = record(FOOTER, struct.pack('<QQI', len(content) if summary else 0, 0, 0))
    path.write_bytes(content + summary + footer + MAGIC)
    return path


def statistics(**counts):
    pairs = b''.join(
        struct.pack('<HQ', int(number[1:]), count) for number, count in counts.items()
    )
    head = struct.pack('<QHIIIIQQ', sum(counts.values()), 1, 1, 0, 0, 0, 0, 0)
    return record(STATISTICS, head + struct.pack('<I', len(pairs)) + pairs)


def image(number=0, size=(4, 6), *, big=False):
    types = STORE.store.types
    stamp = types['builtin_interfaces/msg/Time'](100 + number, 5)
    header = types['std_msgs/msg/Header'](stamp, 'lens')
    pixels = np.full((*size, 3), number, np.uint8).reshape(-1)
    one = types[IMAGE](header, *size, 'rgb8', 0, 3 * size[1], pixels)
    return bytes(STORE.store.serialize_cdr(one, IMAGE, little_endian=not big))


def images(count, first=0):
    return [message(image(first + k), time=first + k) for k in range(count)]


def write_db3(path, datas=None, **changes):
    """Write a .db3 file as rosbag2 does, topics and messages alone."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.executescript(changes.get('schema') or (
            'CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, '
            'serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);'
            'CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, '
            'timestamp INTEGER NOT NULL, data BLOB NOT NULL);'
        ))  # fmt: skip
        database.execute(
            "INSERT INTO topics VALUES (1, '/camera', ?, ?, '')",
            (IMAGE, changes.get('encoding', 'cdr')),
        )
        for number, data in enumerate(datas or []):
            database.execute('INSERT INTO messages VALUES (NULL, 1, ?, ?)', (number, data))
    return path


def numbers(path):
    """Return the values of the pictures that are played, and what is said to be lost."""
    source = BagSource(path, None)
    found = [None if one.image is None else int(one.image[0, 0, 0]) for one in source]
    return found, source.loss()


# ---- two threads, and faults of the program ----


def test_a_database_is_read_from_whatever_thread_asks(tmp_path):
    source = BagSource(write_db3(tmp_path / 'bag.db3', [image(k) for k in range(6)]), None)
    frames, found = iter(source), []
    for _ in range(7):
        thread = threading.Thread(target=lambda: found.append(next(frames, None)))
        thread.start()
        thread.join()
    assert [one and int(one.image[0, 0, 0]) for one in found] == [0, 1, 2, 3, 4, 5, None]
    assert source.loss() == ''


@pytest.mark.parametrize('error', [sqlite3.ProgrammingError, TypeError, KeyError, RuntimeError])
@pytest.mark.parametrize('storage', ['db3', 'mcap'])
def test_a_fault_of_the_program_is_no_damage(tmp_path, monkeypatch, storage, error):
    if storage == 'db3':
        path = write_db3(tmp_path / 'bag.db3', [image()])
    else:
        path = write_mcap(tmp_path / 'bag.mcap', schema(), channel(), *images(1))
    bag = Bag(path)

    def fail(*_):
        raise error('of the program')

    monkeypatch.setattr(f'meta_ood_ros.bags.{"mcap" if storage == "mcap" else "database"}.'
                        'plain_message', fail)  # fmt: skip
    with pytest.raises(error, match='of the program'):
        list(bag.read())


# ---- counts ----


def test_channels_of_one_topic_are_played_together(tmp_path):
    plain = schema() + channel(1) + channel(2) + b''.join(
        message(image(k), 1 + k % 3 // 2, k) for k in range(10)
    )  # fmt: skip
    summary = schema() + channel(1) + channel(2) + statistics(_1=7, _2=3)
    path = write_mcap(tmp_path / 'bag.mcap', chunk(plain), summary=summary)
    assert Bag(path).counts == {'/camera': 10}
    assert numbers(path) == (list(range(10)), '')


@pytest.mark.parametrize('claimed', [0, 3, 40])
def test_an_index_that_miscounts_is_said_and_all_is_played(tmp_path, claimed):
    summary = schema() + channel() + statistics(_1=claimed)
    path = write_mcap(tmp_path / 'bag.mcap', schema(), channel(), *images(10), summary=summary)
    loss = f'bag.mcap has an index that counts {claimed} messages on /camera where 10 are'
    assert numbers(path) == (list(range(10)), loss)
    limited = BagSource(path, 4)
    assert len(list(limited)) == 4


def test_a_topic_that_the_index_does_not_know_is_found(tmp_path):
    summary = schema(2, 'std_msgs/msg/String') + channel(2, '/text', schema=2) + statistics(_2=1)
    path = write_mcap(
        tmp_path / 'bag.mcap', schema(), channel(), schema(2, 'std_msgs/msg/String'),
        channel(2, '/text', schema=2), message(b'\0\1\0\0\1\0\0\0\0', 2), *images(2),
        summary=summary,
    )  # fmt: skip
    assert Bag(path).choose_topic([IMAGE]) == '/camera'
    assert numbers(path)[0] == [0, 1]


def write_folder(folder, plugin=StoragePlugin.MCAP, mode=CompressionMode.NONE, count=3):
    writer = Writer(folder, version=9, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        topic = writer.add_connection('/camera', IMAGE, typestore=STORE.store)
        for number in range(count):
            writer.write(topic, number, image(number))
    return folder


def test_metadata_that_miscounts_is_said(tmp_path):
    folder = write_folder(tmp_path / 'bag')
    metadata = (folder / 'metadata.yaml').read_text()
    (folder / 'metadata.yaml').write_text(
        metadata.replace('message_count: 3', 'message_count: 7')
        .replace('storage_identifier: mcap', 'storage_identifier: sqlite3')
    )  # fmt: skip
    loss = 'bag has a metadata.yaml that counts 7 messages on /camera where 3 are'
    assert numbers(folder) == ([0, 1, 2], loss)


@pytest.mark.parametrize(
    'text',
    [
        'rosbag2_bagfile_information: 7', 'a: &a [*a]', '!!bool x: 1', '[' * 3000,
        'rosbag2_bagfile_information: {relative_file_paths: [7, {}], '
        'topics_with_message_count: [3, {topic_metadata: 4}]}', '\0', '!!int x',
    ],
)  # fmt: skip
def test_metadata_that_is_none_does_not_matter(tmp_path, text):
    folder = write_folder(tmp_path / 'bag')
    (folder / 'metadata.yaml').write_text(text)
    assert numbers(folder) == ([0, 1, 2], '')


def test_a_topic_of_two_types_keeps_to_the_one_of_most(tmp_path):
    folder = tmp_path / 'bag'
    folder.mkdir()
    write_mcap(folder / 'bag_0.mcap', schema(name=COMPRESSED), channel(), *images(2))
    write_mcap(folder / 'bag_1.mcap', schema(), channel(), *images(3, 5))
    found, loss = numbers(folder)
    assert found == [5, 6, 7]
    assert (
        loss
        == f'bag has 2 messages of type {COMPRESSED} on /camera, not read: it is of type {IMAGE}'
    )


def test_parts_in_two_storages_are_read_in_turn(tmp_path):
    write_mcap(tmp_path / 'bag_0.mcap', schema(), channel(), *images(2))
    write_db3(tmp_path / 'bag_1.db3', [image(2), image(3)])
    assert numbers(tmp_path) == ([0, 1, 2, 3], '')


def test_a_bag_is_known_by_its_content_not_by_its_name(tmp_path):
    write_mcap(tmp_path / 'really_mcap.db3', schema(), channel(), *images(2))
    write_db3(tmp_path / 'bag.sqlite', [image(2)])
    assert numbers(tmp_path / 'really_mcap.db3') == ([0, 1], '')
    assert numbers(tmp_path / 'bag.sqlite') == ([2], '')


# ---- messages ----


@pytest.mark.parametrize('storage', ['db3', 'mcap'])
@pytest.mark.parametrize(
    'data',
    [b'', b'\0', b'\0\1\0\0', image()[:11], image()[:40], b'\0\7' + image()[2:],
     b'\xff' + image()[1:], b'no message at all', b'\x28\xb5\x2f\xfd'],
)  # fmt: skip
def test_a_message_that_is_none_costs_itself_alone(tmp_path, storage, data):
    if storage == 'db3':
        path = write_db3(tmp_path / 'bag.db3', [image(0), data, image(2)])
    else:
        records = [message(one) for one in (image(0), data, image(2))]
        path = write_mcap(tmp_path / 'bag.mcap', schema(), channel(), *records)
    source = BagSource(path, None)
    frames = list(source)
    assert [int(one.image[0, 0, 0]) for one in frames if one.image is not None] == [0, 2]
    if len(frames) == 3:
        expected = '/camera must (hold sensor_msgs/msg/Image, got|begin with the header of CDR)'
        with pytest.raises(ValueError, match=expected):
            raise ValueError(frames[1].complaint)
    else:  # packed, and cannot be unpacked
        assert 'has 1 damaged records' in source.loss()


def test_big_endian_is_read_as_it_was_written(tmp_path):
    path = write_mcap(
        tmp_path / 'bag.mcap', schema(), channel(), message(image(3)), message(image(4, big=True))
    )
    both = list(Bag(path).read())
    assert [one.raw.data[1] for one in both] == [1, 0]
    assert [one.stamp_ns for one in both] == [103 * 10**9 + 5, 104 * 10**9 + 5]
    assert numbers(path) == ([3, 4], '')


@pytest.mark.parametrize('value', ["'text'", 'NULL', '7', 'CAST(data AS TEXT)', '1.5'])
def test_what_is_no_blob_is_a_damaged_record(tmp_path, value):
    schema = (
        'CREATE TABLE topics(id INTEGER PRIMARY KEY, name, type, serialization_format, qos);'
        'CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data);'
    )
    path = write_db3(tmp_path / 'bag.db3', [image(k) for k in range(3)], schema=schema)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f'UPDATE messages SET data = {value} WHERE id = 2')
    assert numbers(path) == ([0, 2], 'bag.db3 has 1 damaged records')


@pytest.mark.parametrize('column', ['topic_id', 'timestamp'])
@pytest.mark.parametrize('value', ["'text'", 'NULL', "x'ff'", '1.5'])
def test_a_row_of_wrong_kinds_is_a_damaged_record(tmp_path, column, value):
    schema = (
        'CREATE TABLE topics(id INTEGER PRIMARY KEY, name, type, serialization_format, qos);'
        'CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data);'
    )
    path = write_db3(tmp_path / 'bag.db3', [image(k) for k in range(3)], schema=schema)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f'UPDATE messages SET {column} = {value} WHERE id = 2')
    found, loss = numbers(path)
    assert found == [0, 2]
    assert loss.endswith('has 1 damaged records')


# ---- definitions ----


def definition():
    folder = Path(__file__).parents[2] / 'ros2_ws'
    if not folder.is_dir():
        pytest.skip('the sources of meta_ood_msgs are not at hand')
    array, one = (next(folder.rglob(f'{name}.msg')).read_text()
                  for name in ('OodSegmentArray', 'OodSegment'))  # fmt: skip
    return f'{array}\n{"=" * 80}\nMSG: meta_ood_msgs/OodSegment\n{one}'


@pytest.mark.parametrize(
    'change',
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('segments_found', 'segments_fount'),
        lambda text: text.replace('OodSegment[]', 'OodSegmant[]'),
        lambda text: text.replace('string score', 'string class'),
        lambda text: text.replace('=' * 80, '=' * 79),
        lambda text: text.replace('OodSegment[]', 'OodSegmentArray[]'),
        lambda text: '=' * 80 + '\nIDL: meta_ood_msgs/msg/OodSegmentArray\nmodule {',
        lambda text: '\0\1\2',
        lambda text: ' ',
        lambda text: 'uint8[',
    ],
)
def test_a_damaged_definition_is_one_sentence(change):
    text = change(definition())
    assert text != definition()
    raw = BagMessage('/ood/segments', SEGMENTS_TYPE, text, 0, b'\0\1\0\0' + bytes(200))
    types = TypeStore()
    for _ in range(2):  # what was learned of it the first time is as bad
        with pytest.raises(DamagedMessageError, match='bag must hold a definition of'):
            types.read(raw)


def test_a_whole_definition_is_none_of_these():
    types = TypeStore()
    types.add(SEGMENTS_TYPE, definition())
    assert SEGMENTS_TYPE in types.store.types


# The length of its name, and the name.
@pytest.mark.parametrize('damage', [slice(11, 15), slice(15, 19)])
def test_types_are_taken_from_the_summary_where_they_are_damaged(tmp_path, damage):
    broken = bytearray(schema())
    broken[damage] = b'\xff' * len(broken[damage])
    summary = schema() + channel() + statistics(_1=2)
    path = write_mcap(tmp_path / 'bag.mcap', bytes(broken), channel(), *images(2), summary=summary)
    assert numbers(path) == ([0, 1], 'bag.mcap has 1 damaged records')


# ---- bounds ----


def zeros(compression, size):
    """Return packed zeros, in little memory; zstd without a content size."""
    packed = io.BytesIO()
    stream = {'zstd': zstd.open, 'lz4': lz4.frame.open}[compression](packed, 'wb')
    with stream:
        for _ in range(size >> 20):
            stream.write(bytes(1 << 20))
    return packed.getvalue()


def read_within_bounds(path):
    """Return what is said of a bag, and the megabytes it took."""
    tracemalloc.start()
    try:
        bag = Bag(path)
        said = f'{sum(1 for _ in bag.read())} {bag.loss}'
    except ValueError as error:
        said = str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return said, peak / 1e6


SMALL = 1 << 24


@pytest.fixture
def small_limit(monkeypatch):
    """Have the bound at 17 MB, so that the tests need not unpack 270."""
    monkeypatch.setattr('meta_ood_ros.bags.unpacking.LIMIT', SMALL)
    monkeypatch.setattr('meta_ood_ros.bags.mcap.LIMIT', SMALL)
    monkeypatch.setattr('meta_ood_ros.bags.database.LIMIT', SMALL)


@pytest.fixture
def in_time():
    """Fail, instead of going on for ever."""

    def fail(*_):
        raise TimeoutError('not done within 20 s')

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_a_small_file_that_claims_a_chunk_of_4_gb_takes_no_memory(tmp_path):
    packed = zeros('zstd', LIMIT + (1 << 20)) + zeros('zstd', 1 << 20) * 100
    swollen = chunk(b'', 'zstd', packed=packed, claimed=1 << 32, checksum=False)
    path = write_mcap(tmp_path / 'bag.mcap', schema(), channel(), *images(1), swollen, *images(1))
    said, megabytes = read_within_bounds(path)
    assert said == f'2 bag.mcap has 1 damaged records (unpacks to more than {LIMIT} bytes)'
    assert megabytes < 8


@pytest.mark.parametrize('compression', ['zstd', 'lz4'])
@pytest.mark.parametrize('claimed', [1000, 1 << 30, 1 << 63])
def test_a_chunk_that_swells_takes_little_memory(tmp_path, small_limit, compression, claimed):
    packed = zeros(compression, SMALL + (1 << 20))
    assert len(packed) < 2_000_000
    swollen = chunk(b'', compression, packed=packed, claimed=claimed, checksum=False)
    path = write_mcap(tmp_path / 'bag.mcap', schema(), channel(), *images(1), swollen, *images(1))
    said, megabytes = read_within_bounds(path)
    assert said == f'2 bag.mcap has 1 damaged records (unpacks to more than {SMALL} bytes)'
    assert megabytes < (8 if claimed > SMALL else 24)


def test_a_message_that_swells_takes_little_memory(tmp_path, small_limit):
    packed = zeros('zstd', SMALL + (1 << 20))
    for path in (
        write_mcap(tmp_path / 'bag.mcap', schema(), channel(), *images(1), message(packed)),
        write_db3(tmp_path / 'bag.db3', [image(), packed]),
    ):
        said, megabytes = read_within_bounds(path)
        assert said.startswith(f'1 {path.name} has 1 damaged records')
        assert megabytes < 24


def test_a_file_that_swells_is_read_to_a_bound(tmp_path, small_limit):
    path = tmp_path / 'bag.mcap.zstd'
    begin = MAGIC + schema() + channel() + b''.join(images(2))
    path.write_bytes(zstd.compress(begin) + zeros('zstd', 64 << 20))
    said, megabytes = read_within_bounds(path)
    assert said.startswith('2 bag.mcap.zstd is not whole: unpacks to more than ')
    assert megabytes < 8


def test_a_sparse_chunk_is_not_taken_into_memory(tmp_path):
    path = tmp_path / 'bag.mcap'
    size = 3 << 30
    head = struct.pack('<QQQI', 0, 0, size, 0) + string('') + struct.pack('<Q', size)
    first = MAGIC + record(HEADER, string('ros2') + string('')) + schema() + channel()
    first += b''.join(images(1))
    with path.open('wb') as file:
        file.write(first + struct.pack('<BQ', CHUNK, len(head) + size) + head)
        # One record of zeros that fills the chunk.
        file.write(struct.pack('<BQ', MESSAGE, size - 9))
        file.seek(size - 9, 1)
        file.write(b''.join(images(1)) + record(DATA_END, bytes(4)))
    said, megabytes = read_within_bounds(path)
    assert said.startswith('2 bag.mcap has 1 damaged records (a record has more than')
    assert megabytes < 8


@pytest.mark.parametrize('inside', [False, True])
def test_zeros_where_nothing_arrived_end_the_reading(tmp_path, in_time, inside):
    whole = schema() + channel() + b''.join(images(2))
    path = tmp_path / 'bag.mcap'
    tail = bytes(20 << 20)
    path.write_bytes(MAGIC + (chunk(whole + tail) if inside else whole + tail))
    found, loss = numbers(path)
    assert found == [0, 1]
    if not inside:
        assert loss.startswith(f'bag.mcap ends early: its last {len(tail)} of ')
    else:
        assert loss.startswith('bag.mcap ends early: its last 0 of ')
        assert loss.endswith('and has 1 damaged records')


@pytest.mark.parametrize('compression', ['', 'zstd', 'lz4'])
def test_a_chunk_is_read_whatever_size_it_claims(tmp_path, compression):
    plain = schema() + channel() + b''.join(images(3))
    one = chunk(plain, compression, claimed=1 << 40)
    found, loss = numbers(write_mcap(tmp_path / 'bag.mcap', one))
    assert found == [0, 1, 2]
    if compression:
        assert f'a chunk of {len(plain)} bytes claims {1 << 40}' in loss


def test_zstd_without_content_size_and_in_two_frames_is_read(tmp_path):
    plain = schema() + channel() + b''.join(images(3))
    one = zstd.ZstdCompressor()
    packed = one.compress(plain[:500]) + one.flush() + zstd.compress(plain[500:])
    assert zstd.get_frame_info(packed[:18]).decompressed_size is None
    assert numbers(write_mcap(tmp_path / 'b.mcap', chunk(plain, 'zstd', packed=packed)))[0] == [
        0, 1, 2,
    ]  # fmt: skip


def test_a_compression_nobody_knows_is_named(tmp_path):
    one = chunk(schema(), 'brotli', packed=b'packed')
    with pytest.raises(ValueError, match="got none that can be .*unknown compression 'brotli'"):
        Bag(write_mcap(tmp_path / 'bag.mcap', one))


ENDLESS = (
    'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) '
    "SELECT i AS id, 1 AS topic_id, i AS timestamp, x'00' AS data FROM n"
)
TOPICS = 'CREATE TABLE topics(id INTEGER PRIMARY KEY, name, type, serialization_format, qos);'


@pytest.mark.parametrize(
    'schema',
    [
        f'{TOPICS} CREATE VIEW messages AS {ENDLESS};',
        f'{TOPICS} CREATE VIEW Messages AS {ENDLESS};',
        # Says that it is a table.
        f'{TOPICS} CREATE VIEW messages AS {ENDLESS}; PRAGMA writable_schema=ON; '
        "UPDATE sqlite_master SET type = 'table', rootpage = 2 WHERE name = 'messages';",
        f'{TOPICS} CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, d, '
        'data AS (hex(zeroblob(40000000)))); INSERT INTO messages VALUES (1, 1, 1, 1);',
    ],
)
def test_rows_that_are_made_up_are_refused(tmp_path, in_time, schema):
    path = write_db3(tmp_path / 'bag.db3', schema=schema)
    said, megabytes = read_within_bounds(path)
    assert 'got none that can be read' in said
    assert 'messages is no table of stored rows' in said
    assert megabytes < 8


def test_pages_in_a_circle_end(tmp_path):
    path = write_db3(tmp_path / 'bag.db3', [image(k % 200) for k in range(4000)])
    content = bytearray(path.read_bytes())
    page = int.from_bytes(content[16:18], 'big')
    with contextlib.closing(sqlite3.connect(path)) as database:
        (root,) = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'messages'"
        ).fetchone()
    place = (root - 1) * page
    assert content[place] == 5  # an inner page of a table
    cells = int.from_bytes(content[place + 3 : place + 5], 'big')
    starts = [int.from_bytes(content[place + 12 + 2 * k :][:2], 'big') for k in range(cells)]
    first = content[place + starts[0] : place + starts[0] + 4]
    for one in starts:  # all lead to the first child
        content[place + one : place + one + 4] = first
    path.write_bytes(content)
    reader = BagReader(path)
    found = len(list(reader))
    assert 0 < found < 2000
    assert 'comes after row' in reader.loss or 'malformed' in reader.loss


# ---- where a bag lies ----


def test_links_lead_to_the_bag_and_to_its_log(tmp_path):
    there, elsewhere = tmp_path / 'there', tmp_path / 'elsewhere'
    there.mkdir()
    elsewhere.mkdir()
    path = write_db3(there / 'bag.db3', [image(0)])
    database = sqlite3.connect(path)
    database.execute('PRAGMA journal_mode=WAL')
    database.execute('INSERT INTO messages VALUES (NULL, 1, 1, ?)', (image(1),))
    database.commit()
    (elsewhere / 'link.db3').symlink_to(path)
    (tmp_path / 'folder').symlink_to(there)
    assert numbers(elsewhere / 'link.db3') == ([0, 1], '')
    assert numbers(tmp_path / 'folder') == ([0, 1], '')
    database.close()


@pytest.mark.parametrize('journal', ['WAL', 'DELETE'])
def test_a_log_in_a_folder_that_cannot_be_written_is_read(tmp_path, monkeypatch, journal):
    made, left = tmp_path / 'made', tmp_path / 'left'
    made.mkdir()
    left.mkdir()
    path = write_db3(made / 'bag.db3', [image(0)])
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(f'PRAGMA journal_mode={journal}')
    if journal == 'WAL':
        database.execute('INSERT INTO messages VALUES (NULL, 1, 1, ?)', (image(1),))
    else:  # a transaction that never ended, and is partly in the file already
        database.execute('PRAGMA cache_size=1')
        database.execute('BEGIN')
        for _ in range(200):
            database.execute('INSERT INTO messages VALUES (NULL, 1, 1, ?)', (image(1),))
    for file in made.iterdir():
        (left / file.name).write_bytes(file.read_bytes())
    database.close()
    assert {one.name for one in left.iterdir()} > {'bag.db3'}
    monkeypatch.setattr(os, 'access', lambda *_: False)  # root may write everywhere
    before = {one.name: one.read_bytes() for one in left.iterdir()}
    assert numbers(left / 'bag.db3') == ([0, 1] if journal == 'WAL' else [0], '')
    assert {one.name: one.read_bytes() for one in left.iterdir()} == before


def test_a_pipe_is_not_waited_for_and_a_folder_is_no_file(tmp_path):
    write_mcap(tmp_path / 'bag_0.mcap', schema(), channel(), *images(1))
    (tmp_path / 'bag_1.mcap').mkdir()
    found, loss = numbers(tmp_path)
    assert found == [0]
    assert 'bag_1.mcap cannot be read beyond its byte 0 (Is a directory)' in loss
    os.mkfifo(tmp_path / 'bag_2.mcap')
    with pytest.raises(ValueError, match='bag must lie in files, got .*bag_2.mcap'):
        Bag(tmp_path)


@pytest.mark.parametrize('storage', ['mcap', 'db3'])
def test_a_file_that_shrinks_while_it_is_read_ends_early(tmp_path, storage):
    datas = [image(k, (60, 80)) for k in range(40)]
    if storage == 'mcap':
        path = write_mcap(tmp_path / 'bag.mcap', schema(), channel(), *map(message, datas))
    else:
        path = write_db3(tmp_path / 'bag.db3', datas)
    bag = Bag(path)
    messages = bag.read()
    next(messages)
    os.truncate(path, path.stat().st_size // 2)
    assert 5 < len(list(messages)) < 30
    assert 'ends early' in bag.loss


def test_a_cut_packed_file_is_read_to_the_cut(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (20, 160_000), np.uint8)
    records = b''.join(message(one.tobytes()) for one in noise)
    plain = MAGIC + schema() + channel() + records + record(DATA_END, bytes(4))
    path = tmp_path / 'bag.mcap.zstd'
    path.write_bytes(zstd.compress(plain)[:1_600_000])
    reader = BagReader(path)
    assert 5 < len(list(reader)) < 12
    assert 'bag.mcap.zstd is not whole: cannot be unpacked' in reader.loss


def test_a_full_disk_ends_the_unpacking_with_a_sentence(tmp_path):
    plain = MAGIC + schema() + channel() + b''.join(
        message(image(k, (200, 300))) for k in range(40)
    )  # fmt: skip
    path = tmp_path / 'bag.mcap.zstd'
    path.write_bytes(zstd.compress(plain))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, before[1]))
    try:
        reader = BagReader(path)
        assert 5 < len(list(reader)) < 40
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert 'no room to unpack more (File too large); unpack it with zstd -d' in reader.loss


# ---- recordings of others ----


def test_a_bag_of_ros_1_is_named_and_the_command_converts_it(tmp_path):
    rosbag1 = pytest.importorskip('rosbags.rosbag1')
    from rosbags.typesys import get_typestore, Stores

    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    with rosbag1.Writer(tmp_path / 'drive.bag') as writer:
        topic = writer.add_connection('/camera', IMAGE, typestore=store)
        header = types['std_msgs/msg/Header'](0, types['builtin_interfaces/msg/Time'](5, 6), 'a')
        one = types[IMAGE](header, 2, 2, 'rgb8', 0, 6, np.full(12, 9, np.uint8))
        writer.write(topic, 0, store.serialize_ros1(one, IMAGE))
    with pytest.raises(ValueError, match='a bag of ROS 1: .*drive.bag. Convert it') as caught:
        Bag(tmp_path)
    (tmp_path / 'drive.bag').rename(tmp_path / 'named.mcap')
    with pytest.raises(ValueError, match='a bag of ROS 1: .*named.mcap'):
        Bag(tmp_path / 'named.mcap')
    (tmp_path / 'named.mcap').rename(tmp_path / 'drive.bag')
    command = str(caught.value).partition('; ')[2].partition('. ')[0].split()
    assert command[0] == 'rosbags-convert'
    program = Path(sys.executable).with_name(command[0])
    subprocess.run([program, *command[1:]], cwd=tmp_path, check=True, timeout=60)
    assert numbers(tmp_path / 'drive_ros2') == ([9], '')


@pytest.mark.parametrize(
    ('encoding', 'profile', 'expected'),
    [
        ('ros1', 'ros1', 'got those of ROS 1, on /camera .*rosbags-convert --src NAME.bag'),
        ('', 'ros1', 'got those of ROS 1, on /camera'),
        ('protobuf', '', 'got those of protobuf, on /camera .*ros2 bag record -s mcap'),
        ('json', 'x', 'got those of json, on /camera'),
        ('x-mine', 'ros2', 'got those of x-mine, on /camera'),
    ],
)
@pytest.mark.parametrize('indexed', [False, True])
def test_messages_of_others_are_named(tmp_path, encoding, profile, expected, indexed):
    there = schema(name='foxglove.CompressedImage', encoding='other') + channel(encoding=encoding)
    summary = there + statistics(_1=1) if indexed else b''
    path = write_mcap(
        tmp_path / 'bag.mcap', there, message(b'{}'), profile=profile, summary=summary
    )
    with pytest.raises(ValueError, match=expected):
        Bag(path)
    # Beside one of ROS 2 they are no damage, but cannot be chosen.
    own = schema(2) + channel(2, '/own', schema=2)
    path = write_mcap(
        tmp_path / 'both.mcap', there, own, message(b'{}'), message(image(), 2), profile=profile
    )
    assert numbers(path) == ([0], '')
    with pytest.raises(ValueError, match=expected):
        Bag(path).choose_topic([IMAGE], '/camera')


def test_an_encoding_that_nobody_knows_is_damage(tmp_path):
    own = schema(2) + channel(2, '/own', schema=2) + message(image(), 2)
    path = write_mcap(tmp_path / 'bag.mcap', schema(), channel(encoding='cdp'), *images(3), own)
    assert numbers(path) == ([0], "bag.mcap has 3 damaged records (unknown encoding 'cdp')")


def test_a_database_of_another_format_is_named(tmp_path):
    path = write_db3(tmp_path / 'bag.db3', [b'{}'], encoding='protobuf')
    with pytest.raises(ValueError, match='got those of protobuf, on /camera'):
        Bag(path)


def test_an_empty_bag_is_refused(tmp_path):
    for path in (
        write_mcap(tmp_path / 'a.mcap', schema(), channel()),
        write_mcap(tmp_path / 'b.mcap', summary=schema() + channel() + statistics(_1=5)),
        write_db3(tmp_path / 'c.db3'),
    ):
        with contextlib.suppress(ValueError):
            assert numbers(path)[0] == []
            assert path.name == 'b.mcap'  # says that there are some
            continue
    with pytest.raises(ValueError, match='bag must hold messages, got none'):
        Bag(tmp_path / 'a.mcap')
    with pytest.raises(ValueError, match='bag must hold messages, got none'):
        Bag(tmp_path / 'c.db3')
    assert numbers(tmp_path / 'b.mcap') == (
        [], 'b.mcap has an index that counts 5 messages on /camera where 0 are',
    )  # fmt: skip


# ---- files of the kinds that were reported ----


@pytest.mark.parametrize(
    ('name', 'count'), [('two_channels', 10), ('zero_stamps', 3), ('jpeg_giant_header', 3)]
)
def test_reported_bags_are_played(case_bags, name, count):
    source = BagSource(case_bags / f'{name}.mcap', None)
    assert len(list(source)) == len(source) == count
    assert source.loss() == ''


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('ros1.bag', 'got a bag of ROS 1: .*rosbags-convert --src ros1.bag'),
        ('ros1_profile.mcap', 'got those of ROS 1, on /camera/image_raw'),
        ('protobuf.mcap', 'got those of protobuf, on /camera/image_raw'),
    ],
)
def test_reported_bags_of_others_are_named(case_bags, name, expected):
    with pytest.raises(ValueError, match=expected):
        BagSource(case_bags / name, None)


def test_the_soak_finds_nothing_in_its_short_form():
    from soak.bags import run

    rows = dict(run(24, seed=5))
    assert rows['damaged bags'] == '24 (seed 5)'
    assert not [row for row in rows.items() if row[0].startswith('DEFECT')]
    assert rows['defects'] == '0'
