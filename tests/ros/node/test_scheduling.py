"""Slots and worker against a clock that the test turns."""

import threading
import time

from meta_ood_ros.node.scheduling import DROP_CAUSES, LatestFrames, Worker
import numpy as np
import pytest


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def make(clock, *cameras, on_drop=None):
    frames = LatestFrames(cameras or ('',), clock=clock, on_drop=on_drop)
    frames.open()
    return frames


def take(frames, timeout=0):
    """Return the frame that has waited longest, or None."""
    return next(iter(frames.take_ready(1, timeout=timeout)), None)


def test_latest_frame_of_a_camera_replaces_the_one_before(clock):
    drops = []
    frames = make(clock, on_drop=lambda frame, cause: drops.append((frame.message, cause)))
    for message in 'abc':
        frames.offer('', message)
    assert take(frames).message == 'c'
    assert take(frames) is None
    assert drops == [('a', 'replaced'), ('b', 'replaced')]
    assert frames.counts[''].received == 3
    assert frames.counts[''].dropped['replaced'] == 2


def test_oldest_waiting_frame_comes_first_so_that_no_camera_starves(clock):
    frames = make(clock, 'front', 'rear', 'left')
    served = []
    for turn in range(12):
        clock.now += 1
        frames.offer('front', turn)  # a fast camera beside two slow ones
        if turn % 3 == 0:
            frames.offer('rear', turn)
            clock.now += 0.1
            frames.offer('left', turn)
        served.append(take(frames).camera)
    assert served.count('rear') == served.count('left') == 4


def test_a_replacing_frame_keeps_the_turn_of_its_camera(clock):
    frames = make(clock, 'front', 'rear')
    frames.offer('front', 'old')
    clock.now += 1
    frames.offer('rear', 'younger than the first of front')
    clock.now += 1
    frames.offer('front', 'new')
    assert [take(frames).camera for _ in range(2)] == ['front', 'rear']


def test_cameras_of_one_rate_are_served_alike_whatever_their_phase(clock):
    for lag in (0.001, 0.01):
        frames = make(clock, 'front', 'rear')
        random = np.random.default_rng(0)
        served, free = [], clock.now
        for period in range(3000):  # 100 s of two cameras at 30 Hz, 100 +- 10 ms a frame
            for camera, late in (('front', 0.0), ('rear', lag)):
                clock.now = 1e4 * lag + period / 30 + late
                frames.offer(camera, period)
                if clock.now >= free:
                    served.append(take(frames).camera)
                    free = clock.now + random.normal(0.1, 0.01)
        assert abs(served.count('front') - served.count('rear')) <= 0.1 * len(served)


def test_max_rate_that_is_raised_holds_at_once(clock):
    frames = make(clock)
    frames.offer('', 'slow', max_rate=0.01)
    take(frames)
    clock.now += 1
    frames.offer('', 'fast', max_rate=10.0)
    assert take(frames).message == 'fast'


def test_age_counts_from_arrival_on_the_given_clock(clock):
    frames = make(clock)
    frames.offer('', 'frame')
    clock.now += 0.75
    assert frames.age(take(frames)) == 0.75


def test_max_rate_thins_out_a_fast_camera(clock):
    frames = make(clock)
    for _ in range(300):  # 10 s at 30 Hz
        frames.offer('', 'frame', max_rate=5.0)
        take(frames)
        clock.now += 1 / 30
    passed = 300 - frames.counts[''].dropped['rate']
    assert 50 <= passed <= 52


def test_camera_of_exactly_max_rate_loses_nothing_to_jitter(clock):
    frames = make(clock)
    for turn in range(100):
        clock.now = 100 + turn / 10 + (0.02 if turn % 2 else -0.02)
        frames.offer('', turn, max_rate=10.0)
        take(frames)
    assert frames.counts[''].dropped['rate'] <= 1


def test_frame_far_too_early_is_dropped_even_after_a_pause(clock):
    frames = make(clock)
    for now, passes in ((100, True), (100.4, False), (100.6, True), (101.0, False), (150, True)):
        clock.now = now
        frames.offer('', now, max_rate=1.0)
        assert (take(frames) is not None) == passes


def test_max_rate_is_per_camera(clock):
    frames = make(clock, 'front', 'rear')
    frames.offer('front', 1, max_rate=1.0)
    frames.offer('rear', 1, max_rate=1.0)
    assert {take(frames).camera for _ in range(2)} == {'front', 'rear'}


def test_clear_drops_what_waits_and_forgets_the_rate(clock):
    frames = make(clock)
    frames.offer('', 'before', max_rate=0.01)
    frames.clear()
    assert take(frames) is None
    assert frames.counts[''].dropped['cleared'] == 1
    frames.offer('', 'after', max_rate=0.01)
    assert take(frames).message == 'after'


def test_closed_slots_take_nothing_in_and_wake_who_waits(clock):
    frames = make(clock)
    taken = []
    waiting = threading.Thread(target=lambda: taken.append(take(frames, timeout=None)))
    waiting.start()
    frames.close()
    waiting.join(2)
    assert taken == [None]
    frames.offer('', 'late')
    assert frames.counts[''].dropped['cleared'] == 1
    frames.open()
    frames.offer('', 'again')
    assert take(frames).message == 'again'


def test_every_frame_is_accounted_for(clock):
    frames = make(clock)
    frames.skip('')
    for message in range(5):
        frames.offer('', message)
    taken = take(frames)
    frames.count_processed(taken)
    frames.offer('', 'bad')
    frames.drop(take(frames), 'invalid')
    counts = frames.counts['']
    assert (counts.received, counts.idle, counts.processed) == (7, 1, 1)
    assert counts.dropped == {**dict.fromkeys(DROP_CAUSES, 0), 'replaced': 4, 'invalid': 1}
    assert counts.received == counts.idle + counts.processed + counts.dropped_total


def test_worker_answers_in_order_and_sends_while_it_computes():
    frames = LatestFrames(('',))
    computing, sent, overlap = threading.Event(), [], []

    def compute(frames):
        computing.set()
        time.sleep(0.02)
        computing.clear()
        return [frame.message for frame in frames]

    def send(message):
        overlap.append(computing.wait(1) if message < 4 else True)
        sent.append(message)

    worker = Worker(frames, compute, send)
    worker.start()
    worker.start()  # has no effect
    for message in range(5):
        frames.offer('', message)
        while frames.counts[''].received and frames._slots:
            time.sleep(0.001)
    worker.stop()
    assert sent == [0, 1, 2, 3, 4]
    assert all(overlap)  # the next frame was being computed while this one was sent


def test_worker_finishes_the_frame_in_work_and_starts_again():
    frames = LatestFrames(('',))
    begun, sent = threading.Event(), []

    def compute(frames):
        begun.set()
        time.sleep(0.05)
        return [frame.message for frame in frames]

    worker = Worker(frames, compute, sent.append)
    for message in ('first', 'second'):
        worker.start()
        begun.clear()
        frames.offer('', message)
        assert begun.wait(2)
        worker.stop()
        assert sent[-1] == message


def test_worker_passes_over_frames_without_answer():
    frames, sent = LatestFrames(('',)), []
    worker = Worker(
        frames, lambda taken: [one.message for one in taken if one.message], sent.append
    )
    worker.start()
    for message in (0, 1):
        frames.offer('', message)
        while frames._slots:
            time.sleep(0.001)
    worker.stop()
    assert sent == [1]
    assert not any(thread.name.startswith('meta_ood') for thread in threading.enumerate())


def test_frames_that_wait_at_the_same_time_are_taken_together_oldest_first(clock):
    frames = make(clock, 'front', 'rear', 'left')
    for camera in ('rear', 'left', 'front'):
        frames.offer(camera, camera)
        clock.now += 1
    assert [frame.camera for frame in frames.take_ready(2, timeout=0)] == ['rear', 'left']
    assert [frame.camera for frame in frames.take_ready(2, timeout=0)] == ['front']
    assert frames.take_ready(2, timeout=0) == []


def test_one_frame_is_not_kept_waiting_for_another_camera(clock):
    frames = make(clock, 'front', 'rear')
    frames.offer('front', 'only one')
    assert len(frames.take_ready(2)) == 1  # without a timeout


def test_worker_hands_over_no_more_frames_than_its_limit(clock):
    frames, taken, sent = LatestFrames('abc', clock=clock), [], []
    gate = threading.Event()

    def compute(ready):
        gate.wait(2)
        taken.append([frame.camera for frame in ready])
        return taken[-1]

    worker = Worker(frames, compute, sent.append, limit=2)
    worker.start()
    frames.offer('a', 'alone')
    while frames._slots:
        time.sleep(0.001)
    for camera in 'bca':
        clock.now += 1
        frames.offer(camera, 'together')
    gate.set()
    while len(sent) < 4:
        time.sleep(0.001)
    worker.stop()
    assert taken == [['a'], ['b', 'c'], ['a']]
    assert sent == ['a', 'b', 'c', 'a']
