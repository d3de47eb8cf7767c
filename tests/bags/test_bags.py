"""Bags: what goes in comes out, and what is left of a damaged one comes out, too."""

import contextlib
import resource
import sqlite3
import zlib

import cv2
from meta_ood_ros.bags.bag import (
    Bag,
    BagLossError,
    BagWriter,
    IMAGE_TYPES,
    SEGMENTS_TYPE,
    TypeStore,
)
from meta_ood_ros.bags.files import BagReader
import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
import yaml

IMAGE, COMPRESSED = IMAGE_TYPES
SECOND = 1_000_000_000


@pytest.fixture(scope='module')
def types():
    store = TypeStore()
    store.add(SEGMENTS_TYPE)
    return store.store.types


@pytest.fixture(scope='module')
def pictures():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (12, 48, 64, 3), dtype=np.uint8)


def header(types, number):
    stamp = types['builtin_interfaces/msg/Time'](7 + number, 8)
    return types['std_msgs/msg/Header'](stamp, 'camera_optical')


def to_cdr(message, type_name):
    store = TypeStore()
    store.add(type_name)
    return bytes(store.store.serialize_cdr(message, type_name))


def image_cdr(types, number, picture):
    height, width = picture.shape[:2]
    data = picture.reshape(-1)
    message = types[IMAGE](header(types, number), height, width, 'rgb8', 0, 3 * width, data)
    return to_cdr(message, IMAGE)


def jpeg_cdr(types, number, picture):
    _, code = cv2.imencode('.jpg', picture[..., ::-1])
    message = types[COMPRESSED](header(types, number), 'jpeg', code.reshape(-1))
    return to_cdr(message, COMPRESSED)


def write(folder, types, pictures, plugin=StoragePlugin.MCAP, mode=CompressionMode.NONE):
    """Record pictures on two topics with the writer of rosbags; return the folder."""
    store = TypeStore().store
    writer = Writer(folder, version=9, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        raw = writer.add_connection('/camera/image', IMAGE, typestore=store)
        jpeg = writer.add_connection('/camera/image/compressed', COMPRESSED, typestore=store)
        for number, picture in enumerate(pictures):
            time = number * SECOND
            writer.write(raw, time, image_cdr(types, number, picture))
            writer.write(jpeg, time + 1, jpeg_cdr(types, number, picture))
    return folder


def read_images(bag, topic='/camera/image'):
    return [(one.stamp_ns, one.to_rgb()) for one in bag.read(topic)]


def assert_prefix(images, pictures):
    for number, (stamp, image) in enumerate(images):
        assert stamp == (7 + number) * SECOND + 8
        np.testing.assert_array_equal(image, pictures[number])


@pytest.mark.parametrize('single_file', [False, True])
@pytest.mark.parametrize(
    ('plugin', 'mode'),
    [
        (StoragePlugin.MCAP, CompressionMode.NONE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
    ],
)
def test_images_come_out_as_they_went_in(tmp_path, types, pictures, plugin, mode, single_file):
    folder = write(tmp_path / 'bag', types, pictures, plugin, mode)
    path = next(folder.glob('bag.*')) if single_file else folder
    bag = Bag(path)
    assert bag.topics == {'/camera/image': IMAGE, '/camera/image/compressed': COMPRESSED}
    assert bag.counts == {'/camera/image': 12, '/camera/image/compressed': 12}
    images = read_images(bag)
    assert len(images) == 12
    assert_prefix(images, pictures)
    assert bag.loss == ''
    decoded = [image for _, image in read_images(bag, '/camera/image/compressed')]
    assert np.shape(decoded) == (12, 48, 64, 3)


def test_log_times_and_order_are_kept(tmp_path, types, pictures):
    bag = Bag(write(tmp_path / 'bag', types, pictures[:3]))
    times = [(one.raw.topic, one.raw.log_time_ns) for one in bag.read()]
    expected = []
    for number in range(3):
        expected += [('/camera/image', number * SECOND)]
        expected += [('/camera/image/compressed', number * SECOND + 1)]
    assert times == expected


@pytest.mark.parametrize('mode', [CompressionMode.NONE, CompressionMode.STORAGE])
def test_of_a_cut_mcap_file_all_before_the_cut_is_read(tmp_path, types, mode):
    # Noise of 3 MB, so that there are several chunks of 1 MiB.
    pictures = np.random.default_rng(1).integers(0, 256, (16, 200, 320, 3), dtype=np.uint8)
    folder = write(tmp_path / 'bag', types, pictures, mode=mode)
    whole = (folder / 'bag.mcap').read_bytes()
    cut = tmp_path / 'cut.mcap'
    numbers = []
    for share in (0.1, 0.5, 0.8, 0.97):
        cut.write_bytes(whole[: int(len(whole) * share)])
        try:
            bag = Bag(cut)
        except ValueError as error:  # nothing but a part of the first chunk is left
            assert 'got none that can be read' in str(error)  # noqa: PT017
            assert mode == CompressionMode.STORAGE
            assert share == 0.1
            numbers.append(0)
            continue
        images = read_images(bag)
        assert_prefix(images, pictures)
        assert bag.counts['/camera/image'] == len(images)
        numbers.append(len(images))
        assert f'of {int(len(whole) * share)} bytes are no whole record' in bag.loss
        with pytest.raises(BagLossError, match='ends early.*Everything before it was read'):
            list(bag.read(strict=True))
    assert numbers == sorted(numbers)
    assert 0 < numbers[1] < numbers[3]


def test_of_a_cut_sqlite_file_all_before_the_cut_is_read(tmp_path, types, pictures):
    folder = write(tmp_path / 'bag', types, pictures, StoragePlugin.SQLITE3)
    whole = (folder / 'bag.db3').read_bytes()
    cut = tmp_path / 'cut.db3'
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    bag = Bag(cut)
    images = read_images(bag)
    assert 0 < len(images) < 12
    assert_prefix(images, pictures)
    assert 'nothing can be read after its first' in bag.loss


def test_a_damaged_chunk_is_counted_and_the_rest_is_read(tmp_path, types):
    pictures = np.random.default_rng(1).integers(0, 256, (16, 200, 320, 3), dtype=np.uint8)
    folder = write(tmp_path / 'bag', types, pictures, mode=CompressionMode.STORAGE)
    content = bytearray((folder / 'bag.mcap').read_bytes())
    begin = content.index(b'\x28\xb5\x2f\xfd', len(content) // 4)  # of a zstd frame
    content[begin : begin + 4] = bytes(4)
    (folder / 'bag.mcap').write_bytes(content)
    bag = Bag(folder)
    stamps = {stamp for stamp, _ in read_images(bag)}
    assert 8 <= len(stamps) < 16
    assert {7 * SECOND + 8, 22 * SECOND + 8} <= stamps  # the first and the last
    assert 'has 1 damaged records' in bag.loss


@pytest.mark.parametrize('damaged', [False, True])
def test_the_checksum_of_a_chunk_is_heeded(tmp_path, types, pictures, damaged):
    folder = write(tmp_path / 'bag', types, pictures[:2])
    content = bytearray((folder / 'bag.mcap').read_bytes())
    # The only chunk comes after the magic and the header record (code, 8 bytes of length).
    place = 8 + 9 + int.from_bytes(content[9:17], 'little')
    assert content[place] == 0x06
    size = int.from_bytes(content[place + 1 : place + 9], 'little')
    records = content[place + 9 + 40 : place + 9 + size]
    content[place + 9 + 24 : place + 9 + 28] = zlib.crc32(records).to_bytes(4, 'little')
    if damaged:
        content[place + 9 + size - 5000] ^= 1
    (folder / 'bag.mcap').write_bytes(content)
    bag = Bag(folder)
    assert len(list(bag.read())) == (0 if damaged else 4)
    assert bag.loss == ('bag.mcap has 1 damaged records' if damaged else '')


@pytest.mark.parametrize('position', range(0, 4000, 397))
def test_no_flipped_byte_raises_anything_else(tmp_path, types, pictures, position):
    folder = write(tmp_path / 'bag', types, pictures[:2])
    content = bytearray((folder / 'bag.mcap').read_bytes())
    content[position] ^= 0xFF
    path = tmp_path / 'flipped.mcap'
    path.write_bytes(content)
    with contextlib.suppress(ValueError):  # says that nothing is readable
        for one in Bag(path).read():
            with contextlib.suppress(ValueError):
                one.to_rgb() if one.raw.type_name in IMAGE_TYPES else one.message


def records_of(content, place, end):
    """Yield place and code of each MCAP record."""
    while place < end:
        yield place, content[place]
        place += 9 + int.from_bytes(content[place + 1 : place + 9], 'little')


# Of a length of 8 bytes: 2^47 are more than the memory, 2^63 more than an index may be.
@pytest.mark.parametrize('byte', [5, 7])
def test_a_damaged_length_ends_the_reading_where_it_stands(tmp_path, types, pictures, byte):
    whole = (write(tmp_path / 'bag', types, pictures[:2]) / 'bag.mcap').read_bytes()
    path = tmp_path / 'damaged.mcap'
    found = []
    for place, code in records_of(whole, 8, len(whole)):
        if code == 0x0F:  # the end of the data
            break
        content = bytearray(whole)
        content[place + 1 + byte] ^= 0x80
        path.write_bytes(content)
        reader = BagReader(path)
        found.append((code, len(list(reader))))
        left = len(whole) - place
        assert reader.loss.startswith(f'damaged.mcap ends early: its last {left} of ')
    assert found[0] == (0x01, 0)
    assert (0x06, 4) in found  # the chunk can be read although its length cannot


@pytest.mark.parametrize('byte', [5, 7])
def test_a_damaged_length_in_a_chunk_costs_the_rest_of_the_chunk(tmp_path, types, pictures, byte):
    folder = write(tmp_path / 'bag', types, pictures[:2])
    content = bytearray((folder / 'bag.mcap').read_bytes())
    chunk = next(place for place, code in records_of(content, 8, len(content)) if code == 0x06)
    end = chunk + 9 + int.from_bytes(content[chunk + 1 : chunk + 9], 'little')
    inner = [place for place, code in records_of(content, chunk + 49, end) if code == 0x05]
    assert len(inner) == 4
    content[inner[2] + 1 + byte] ^= 0x80
    (folder / 'bag.mcap').write_bytes(content)
    reader = BagReader(folder / 'bag.mcap')
    assert len(list(reader)) == 2
    assert reader.loss == 'bag.mcap has 1 damaged records'


def test_a_database_that_cannot_be_opened_is_a_loss(tmp_path):
    (tmp_path / 'bag.db3').mkdir()  # not even root may open a folder as a file
    with pytest.raises(ValueError, match='got none that can be read .*unable to open database'):
        Bag(tmp_path)


def test_messages_still_in_the_log_of_a_killed_recorder_are_read(tmp_path, types, pictures):
    folder = write(tmp_path / 'bag', types, pictures[:4], StoragePlugin.SQLITE3)
    path = folder / 'bag.db3'
    database = sqlite3.connect(path)
    database.execute('PRAGMA journal_mode=WAL')
    data = image_cdr(types, 4, pictures[4])
    database.execute(
        'INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)', (4 * SECOND, data)
    )
    database.commit()
    # A copy taken now is what a recorder leaves that is killed before it merges its log.
    left = tmp_path / 'left'
    left.mkdir()
    for file in folder.glob('bag.db3*'):
        (left / file.name).write_bytes(file.read_bytes())
    database.close()
    assert (left / 'bag.db3-wal').stat().st_size > 0
    images = [(one.stamp_ns, one.to_rgb()) for one in Bag(left / 'bag.db3').read('/camera/image')]
    assert len(images) == 5
    assert_prefix(images, pictures)


def test_split_bags_are_read_in_order(tmp_path, types, pictures):
    folder = tmp_path / 'split'
    folder.mkdir()
    for part, first in enumerate((0, 3, 6)):
        made = write(tmp_path / f'part{part}', types, pictures[first : first + 3])
        (made / f'part{part}.mcap').replace(folder / f'split_{part + 9}.mcap')
    images = [image for _, image in read_images(Bag(folder))]
    np.testing.assert_array_equal(images, pictures[:9])


def assert_each_once(path, pictures, *, loss=''):
    bag = Bag(path)
    images = read_images(bag)
    assert len(images) == len(pictures)
    assert_prefix(images, pictures)
    assert bag.loss == loss


def test_a_copy_in_another_format_is_not_read_as_well(tmp_path, types, pictures):
    folder = write(tmp_path / 'bag', types, pictures[:3])
    copy = write(tmp_path / 'converted', types, pictures[:3], StoragePlugin.SQLITE3)
    (copy / 'converted.db3').replace(folder / 'bag.db3')
    assert_each_once(folder, pictures[:3])  # metadata.yaml says which one counts
    (folder / 'metadata.yaml').unlink()
    with pytest.raises(ValueError, match=r'each recording once, got bag\.db3 and bag\.mcap in .*'):
        Bag(folder)
    assert_each_once(folder / 'bag.db3', pictures[:3])


@pytest.mark.parametrize('metadata', ['whole', 'damaged', 'none'])
def test_a_packed_file_beside_its_unpacked_copy_is_read_once(tmp_path, types, pictures, metadata):
    plain = write(tmp_path / 'plain', types, pictures[:3], StoragePlugin.SQLITE3)
    folder = write(
        tmp_path / 'bag', types, pictures[:3], StoragePlugin.SQLITE3, CompressionMode.FILE
    )
    (plain / 'plain.db3').replace(folder / 'bag.db3')
    if metadata == 'damaged':
        (folder / 'metadata.yaml').write_text('rosbag2_bagfile_information: [')
    if metadata == 'none':
        (folder / 'metadata.yaml').unlink()
    assert_each_once(folder, pictures[:3])
    (folder / 'bag.db3.zstd').unlink()  # unpacked in place
    assert_each_once(folder, pictures[:3])


def test_another_recording_in_the_folder_is_named_and_not_read(tmp_path, types, pictures):
    folder = write(tmp_path / 'bag', types, pictures[:3])
    other = write(tmp_path / 'other', types, pictures[3:5])
    (other / 'other.mcap').replace(folder / 'other.mcap')
    loss = 'bag holds other.mcap, not read: metadata.yaml does not list it'
    assert_each_once(folder, pictures[:3], loss=loss)


def test_a_listed_file_that_is_absent_is_named(tmp_path, types, pictures):
    folder = write(tmp_path / 'bag', types, pictures[:3])
    listed = (folder / 'metadata.yaml').read_text()
    (folder / 'metadata.yaml').write_text(
        listed.replace('- bag.mcap', '- bag.mcap\n  - bag_1.mcap')
    )
    assert 'bag_1' in (folder / 'metadata.yaml').read_text()
    loss = 'bag lacks bag_1.mcap, which metadata.yaml lists'
    assert_each_once(folder, pictures[:3], loss=loss)


def test_parts_begun_after_metadata_was_written_last_are_read(tmp_path, types, pictures):
    folder = tmp_path / 'bag'
    folder.mkdir()
    for part in range(3):
        made = write(tmp_path / f'part{part}', types, pictures[2 * part : 2 * part + 2])
        (made / f'part{part}.mcap').replace(folder / f'bag_{part + 9}.mcap')
    (folder / 'metadata.yaml').write_text(
        'rosbag2_bagfile_information: {relative_file_paths: [bag/bag_9.mcap]}'
    )
    images = [image for _, image in read_images(Bag(folder))]
    np.testing.assert_array_equal(images, pictures[:6])


def test_topic_is_chosen(tmp_path, types, pictures):
    bag = Bag(write(tmp_path / 'bag', types, pictures[:1]))
    assert bag.choose_topic([IMAGE]) == '/camera/image'
    assert bag.choose_topic(IMAGE_TYPES, '/camera/image/compressed') == '/camera/image/compressed'
    with pytest.raises(
        ValueError, match=r'one topic of type Image or CompressedImage, got .*--bag-topic'
    ):
        bag.choose_topic(IMAGE_TYPES, option='--bag-topic')
    with pytest.raises(ValueError, match='the topic /rear of type Image, got /camera/image'):
        bag.choose_topic([IMAGE], '/rear')
    with pytest.raises(ValueError, match=r'type OodSegmentArray, got none, only /camera.*Record'):
        bag.choose_topic([SEGMENTS_TYPE])


def test_what_is_no_bag_is_refused(tmp_path):
    (tmp_path / 'notes.txt').write_text('no bag')
    with pytest.raises(ValueError, match=r'\.mcap or \.db3 file or a folder .*notes\.txt'):
        Bag(tmp_path)
    with pytest.raises(ValueError, match='nothing there'):
        Bag(tmp_path / 'missing')
    (tmp_path / 'other.mcap').write_text('no bag')
    with pytest.raises(ValueError, match=r'got none that can be read .*is no MCAP file'):
        Bag(tmp_path / 'other.mcap')
    (tmp_path / 'other.db3').write_text('no bag, and longer than the first page of a database')
    with pytest.raises(ValueError, match=r'got none that can be read .*after its first 0'):
        Bag(tmp_path / 'other.db3')


@pytest.mark.parametrize('name', ['test_bag_mcap', 'test_bag_sqlite3'])
def test_bags_of_another_writer_with_malformed_images(shared_data, name):
    bag = Bag(shared_data / 'bags' / name)
    assert bag.choose_topic([IMAGE]) == '/test/sensor_msgs/image'
    images = list(bag.read('/test/sensor_msgs/image'))
    assert len(images) == bag.counts['/test/sensor_msgs/image'] == 2
    for one in images:
        with pytest.raises(ValueError, match='921600 bytes for a 480 x 640 rgb8 image, got 30'):
            one.to_rgb()
    (first, _) = bag.read('/test/sensor_msgs/compressed_image')
    with pytest.raises(ValueError, match='must reach its end marker, got 10 bytes'):
        first.to_rgb()
    (damaged, _) = bag.read('/test/sensor_msgs/range')
    with pytest.raises(ValueError, match='must hold sensor_msgs/msg/Range, got 44 bytes'):
        damaged.message  # noqa: B018
    assert bag.loss == ''


def segments_message(types, number):
    Segment = types['meta_ood_msgs/msg/OodSegment']
    roi = types['sensor_msgs/msg/RegionOfInterest'](3, 4, 5, 6, False)
    one = Segment(
        9, roi, 1.5, 2.5, 12, 13, 0.75, True, 0.5, 0.875,
        np.array([1, 2, 3], np.uint16), np.array([4, 5, 6], np.uint16), np.zeros(0, np.float32),
    )  # fmt: skip
    return types[SEGMENTS_TYPE](
        header(types, number), 'front', 48, 64, 96, 128, 'tiny@0123456789ab', 'entropy', 0.5, 0.25,
        ['road', 'sky'], [], 3, 2, [one],
    )  # fmt: skip


def test_recording_is_read_again(tmp_path, types, pictures):
    with BagWriter(tmp_path, 'run') as writer:
        for number in range(3):
            data = image_cdr(types, number, pictures[number])
            writer.write('/ood/overlay', IMAGE, data, number * SECOND)
            data = to_cdr(segments_message(types, number), SEGMENTS_TYPE)
            writer.write('/ood/segments', SEGMENTS_TYPE, data, number * SECOND)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['metadata.yaml', 'run.mcap']
    for path in (tmp_path, tmp_path / 'run.mcap'):
        bag = Bag(path)
        assert bag.counts == {'/ood/overlay': 3, '/ood/segments': 3}
        assert_prefix(read_images(bag, '/ood/overlay'), pictures)
        messages = [one.message for one in bag.read(bag.choose_topic([SEGMENTS_TYPE]))]
        assert [one.header.stamp.sec for one in messages] == [7, 8, 9]
        assert messages[0].segments_found == 3
        (segment,) = messages[0].segments
        assert (segment.id, segment.area_px, segment.accepted) == (9, 12, True)
        assert segment.contour_y.tolist() == [4, 5, 6]


def test_recording_offers_what_the_node_offers(tmp_path, types):
    with BagWriter(tmp_path, 'run') as writer:
        data = to_cdr(segments_message(types, 0), SEGMENTS_TYPE)
        writer.write('/ood/segments', SEGMENTS_TYPE, data, 0)
    metadata = yaml.safe_load((tmp_path / 'metadata.yaml').read_text())
    information = metadata['rosbag2_bagfile_information']
    assert information['relative_file_paths'] == ['run.mcap']
    (topic,) = information['topics_with_message_count']
    (offered,) = topic['topic_metadata']['offered_qos_profiles']
    assert (offered['history'], offered['depth']) == ('keep_last', 1)
    assert (offered['reliability'], offered['durability']) == ('reliable', 'volatile')


def test_a_new_recording_replaces_the_old_one(tmp_path, types, pictures):
    for count in (3, 1):
        with BagWriter(tmp_path, 'run') as writer:
            for number in range(count):
                data = image_cdr(types, number, pictures[number])
                writer.write('/image', IMAGE, data, number)
    assert Bag(tmp_path).counts == {'/image': 1}


def test_a_closed_recording_takes_no_message_and_stays_whole(tmp_path, types, pictures):
    with BagWriter(tmp_path, 'run') as writer:
        writer.write('/image', IMAGE, image_cdr(types, 0, pictures[0]), 0)
    with pytest.raises(ValueError, match=r'until it is closed, got one of /image'):
        writer.write('/image', IMAGE, image_cdr(types, 1, pictures[1]), 1)
    assert Bag(tmp_path).counts == {'/image': 1}


def test_folder_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / 'taken').write_text('a file')
    with pytest.raises(OSError, match='taken'):
        BagWriter(tmp_path / 'taken', 'run')


def test_a_full_disk_leaves_what_was_written(tmp_path, types):
    # The limit on the size of a file fails like a full disk: in write(), with an OSError.
    pictures = np.random.default_rng(1).integers(0, 256, (40, 200, 320, 3), dtype=np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = BagWriter(tmp_path, 'run')
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, before[1]))
    try:
        with pytest.raises(OSError, match='too large'):  # noqa: PT012
            for number, picture in enumerate(pictures):
                writer.write('/image', IMAGE, image_cdr(types, number, picture), number)
        with pytest.raises(OSError, match='too large'):
            writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    bag = Bag(tmp_path / 'run.mcap')
    images = read_images(bag, '/image')
    assert 10 < len(images) < 40
    assert_prefix(images, pictures)
    assert 'ends early' in bag.loss
    assert not list(tmp_path.glob('.run*'))


def test_a_type_nobody_knows_is_refused(tmp_path):
    with pytest.raises(ValueError, match='must hold the definition of other_msgs/msg/Thing'):
        TypeStore().add('other_msgs/msg/Thing')
