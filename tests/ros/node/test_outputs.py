"""What the node publishes about a frame, received over DDS."""

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ..conftest import make_header, scene, UNKNOWN, wait_for

PICTURES = {
    'semantic': ('mono8', np.uint8),
    'semantic_ood': ('mono8', np.uint8),
    'confidence': ('mono8', np.uint8),
    'entropy': ('32FC1', np.float32),
    'segment_ids': ('mono16', np.uint16),
    'overlay': ('rgb8', np.uint8),
    'semantic_color': ('rgb8', np.uint8),
    'entropy_color': ('rgb8', np.uint8),
}


def pixels(message):
    """Return the pixels of an output image."""
    encoding, dtype = next(one for one in PICTURES.values() if one[0] == message.encoding)
    values = np.frombuffer(message.data, dtype)
    channels = (3,) if encoding == 'rgb8' else ()
    assert message.step * message.height == len(message.data)
    return values.reshape(message.height, message.width, *channels)


def test_every_output_carries_the_header_and_the_size_of_the_image(robot, colour_network):
    robot.start()
    segments = robot.listen('ood/segments')
    pictures = {name: robot.listen(f'ood/{name}', Image) for name in PICTURES}
    camera = robot.camera()
    robot.connect(camera, outputs=[f'ood/{name}' for name in ('segments', *PICTURES)])
    answer = robot.ask(camera, scene((60, 40, 10, 20)), segments, frame_id='front/optical')
    assert isinstance(answer.header, Header)
    assert answer.header.frame_id == 'front/optical'
    for name, received in pictures.items():
        wait_for(lambda received=received: received)
        assert received[0].header == answer.header
        assert received[0].encoding == PICTURES[name][0]
        assert (received[0].height, received[0].width) == (96, 128)
        assert not received[0].is_bigendian
    maps = {name: pixels(received[0]) for name, received in pictures.items()}
    box = np.zeros((96, 128), bool)
    box[60:70, 40:60] = True
    sky = np.arange(96)[:, None] < 32
    classes = np.where(sky, 10, 0) * ~box
    assert np.array_equal(maps['semantic'], classes)
    assert np.array_equal(maps['semantic_ood'], np.where(box, 19, classes))
    assert np.array_equal(maps['segment_ids'], box)
    assert np.allclose(maps['entropy'], box, atol=1e-6)
    assert np.array_equal(maps['confidence'], np.where(box, round(255 / 19), 255))
    assert set(map(tuple, maps['semantic_color'][box])) == {(128, 64, 128)}
    assert set(map(tuple, maps['semantic_color'][:32].reshape(-1, 3))) == {(70, 130, 180)}
    assert maps['entropy_color'][box].min() > maps['entropy_color'][~box].max() / 2
    assert len(set(map(tuple, maps['entropy_color'].reshape(-1, 3)))) == 2
    assert len(segments) == 1
    segment = answer.segments[0]
    assert (segment.roi.x_offset, segment.roi.y_offset) == (40, 60)
    assert (segment.roi.width, segment.roi.height, segment.area_px) == (20, 10, 200)
    assert (segment.centroid_x, segment.centroid_y) == (49.5, 64.5)
    assert (answer.segments_found, answer.segments_rejected) == (1, 0)


def test_empty_scene_gives_a_message_without_segments(robot, colour_network):
    robot.start()
    segments = robot.listen('ood/segments')
    camera = robot.camera()
    robot.connect(camera)
    answer = robot.ask(camera, scene(), segments)
    assert answer.segments == []
    assert (answer.segments_found, answer.segments_rejected) == (0, 0)
    assert (answer.height, answer.width) == (answer.work_height, answer.work_width) == (96, 128)
    assert answer.class_names[13] == 'car'
    assert answer.model_id.startswith('tiny@')
    assert len(answer.model_id) == len('tiny@') + 12


def test_exactly_one_message_for_each_frame(robot, colour_network):
    robot.start(max_age=0.0)
    segments = robot.listen('ood/segments')
    camera = robot.camera()
    robot.connect(camera)
    headers = [robot.ask(camera, scene(), segments).header for _ in range(20)]
    assert [one.header for one in segments] == headers
    assert [one.stamp.nanosec for one in headers] == list(range(1, 21))


def test_same_scene_at_twice_the_size_has_the_same_accepted_segments(robot, colour_network):
    robot.start(publish_metrics=True)
    segments = robot.listen('ood/segments')
    ids = robot.listen('ood/segment_ids', Image)
    camera = robot.camera()
    robot.connect(camera, outputs=['ood/segments', 'ood/segment_ids'])
    picture = scene((40, 10, 8, 30), (60, 70, 21, 13), (50, 100, 3, 3))
    answers = []
    for factor in (1, 2, 3):
        larger = picture.repeat(factor, axis=0).repeat(factor, axis=1)
        answer = robot.ask(camera, larger, segments)
        wait_for(lambda n=factor: len(ids) == n)
        assert (answer.height, answer.width) == (96 * factor, 128 * factor)
        assert (answer.work_height, answer.work_width) == (96, 128)
        values = pixels(ids[-1])
        for segment in answer.segments:
            rows, columns = np.nonzero(values == segment.id)
            roi = segment.roi
            assert segment.area_px == rows.size
            assert (roi.y_offset, roi.x_offset) == (rows.min(), columns.min())
            assert (roi.height, roi.width) == (np.ptp(rows) + 1, np.ptp(columns) + 1)
            assert abs(segment.centroid_x - columns.mean()) < 1e-4
            assert values[segment.contour_y, segment.contour_x].tolist() == [segment.id] * 4
        answers.append(answer)
    base = answers[0].segments
    assert len(base) == 3
    for factor, answer in zip((2, 3), answers[1:], strict=True):
        for one, larger in zip(base, answer.segments, strict=True):
            assert (larger.id, larger.class_id) == (one.id, one.class_id)
            assert larger.accepted
            assert larger.area_px == factor**2 * one.area_px
            assert larger.roi.width == factor * one.roi.width
            assert larger.score_mean == one.score_mean
            assert larger.metrics == one.metrics


def test_outputs_nobody_wants_are_not_made(robot, colour_network, monkeypatch):
    made = []
    from meta_ood_ros.messages.pictures import Pictures

    make = Pictures.make
    monkeypatch.setattr(
        Pictures, 'make', lambda self, name, header: made.append(name) or make(self, name, header)
    )
    robot.start()
    segments = robot.listen('ood/segments')
    camera = robot.camera()
    robot.connect(camera)
    robot.ask(camera, scene(), segments)
    assert made == []
    overlay = robot.listen('ood/overlay', Image)
    robot.connect(camera, outputs=['ood/overlay'])
    robot.ask(camera, scene(), segments)
    wait_for(lambda: overlay)
    assert made == ['overlay']


def test_without_any_subscriber_the_network_rests_and_diagnostics_say_idle(robot, colour_network):
    robot.start(diagnostics_period=0.1)
    facts = robot.diagnostics()
    camera = robot.camera()
    robot.connect(camera, outputs=())
    for number in range(1, 4):
        robot.send(camera, scene())
        wait_for(lambda n=number: facts().get('in') == str(n))
    assert colour_network.frames == 0
    assert facts()['idle'] == 'true'
    assert facts().message.startswith('idle')
    assert (facts()['in'], facts()['idle_frames'], facts()['processed']) == ('3', '3', '0')
    semantic = robot.listen('ood/semantic', Image)
    robot.connect(camera, outputs=['ood/semantic'])
    robot.send(camera, scene())
    wait_for(lambda: semantic)
    wait_for(lambda: facts()['processed'] == '1')
    assert facts()['idle'] == 'false'
    assert colour_network.frames == 1


def test_overlay_shows_the_image_through_the_colours(robot, colour_network):
    robot.start(overlay_alpha=0.25)
    overlay = robot.listen('ood/overlay', Image)
    camera = robot.camera()
    robot.connect(camera, outputs=['ood/overlay'])
    picture = scene((60, 40, 20, 20))
    robot.send(camera, picture)
    wait_for(lambda: overlay)
    values = pixels(overlay[0]).astype(float)
    assert (
        np.abs(values[0, 0] - (0.75 * picture[0, 0] + 0.25 * np.array([70, 130, 180]))).max() <= 1
    )
    inside = 0.75 * np.array(UNKNOWN) + 0.25 * np.array([0, 255, 255])
    assert np.abs(values[70, 50] - inside).max() <= 1
    assert values[60, 50].tolist() == [0, 255, 255]  # the outline, at full strength
    assert robot.set(overlay_alpha=0.0) == ''
    robot.send(camera, scene())
    wait_for(lambda: len(overlay) == 2)
    assert np.array_equal(pixels(overlay[1]), scene())


def test_ignored_pixels_are_never_ood(robot, colour_network, tmp_path):
    import cv2

    mask = np.full((48, 64), 255, np.uint8)
    mask[:, :32] = 0  # the left half, drawn at half the size of the image
    cv2.imwrite(str(tmp_path / 'hull.png'), mask)
    robot.start(ignore_mask=[str(tmp_path / 'hull.png')])
    segments = robot.listen('ood/segments')
    names = ('semantic', 'semantic_ood', 'entropy', 'segment_ids', 'confidence')
    received = {name: robot.listen(f'ood/{name}', Image) for name in names}
    camera = robot.camera()
    robot.connect(camera, outputs=[f'ood/{name}' for name in ('segments', *names)])
    for factor in (1, 2):  # the mask follows a change of size
        picture = scene((60, 20, 10, 20), (60, 100, 10, 10))
        picture = picture.repeat(factor, axis=0).repeat(factor, axis=1)
        answer = robot.ask(camera, picture, segments)
        assert [one.roi.x_offset for one in answer.segments] == [100 * factor]
        wait_for(lambda n=factor: all(len(one) == n for one in received.values()))
        maps = {name: pixels(one[-1]) for name, one in received.items()}
        left = np.arange(128 * factor) < 64 * factor
        assert (maps['semantic'][:, left] == 255).all()
        assert (maps['semantic_ood'][:, left] == 255).all()
        assert not maps['entropy'][:, left].any()
        assert maps['entropy'][65 * factor, 105 * factor] > 0.99
        assert (maps['semantic'][:, ~left] < 19).all()
        assert set(np.unique(maps['segment_ids'])) == {0, answer.segments[0].id}


def test_input_image_is_not_changed(robot, colour_network):
    # With one copy less than it takes, the overlay would be drawn into the received message.
    robot.start()
    overlay = robot.listen('ood/overlay', Image)
    seen = []
    offer = robot.node._session._frames.offer
    robot.node._session._frames.offer = lambda camera, message, **options: (
        seen.append(message), offer(camera, message, **options)
    )  # fmt: skip
    camera = robot.camera()
    robot.connect(camera, outputs=['ood/overlay'])
    robot.send(camera, scene((60, 40, 20, 20)))
    wait_for(lambda: overlay)
    assert seen[0].data.tobytes() == scene((60, 40, 20, 20)).tobytes()


def test_header_of_any_content_comes_back_bit_for_bit(robot, colour_network):
    robot.start()
    segments = robot.listen('ood/segments')
    camera = robot.camera()
    robot.connect(camera)
    from meta_ood_ros.messages.conversions import to_image

    for sec, nanosec, frame_id in ((0, 0, ''), (-5, 1, 'ä/ö'), (2**31 - 1, 10**9 - 1, 'x' * 300)):
        header = make_header(nanosec, frame_id)
        header.stamp.sec = sec
        before = len(segments)
        camera.publish(to_image(header, scene(), 'rgb8'))
        wait_for(lambda n=before: len(segments) > n)
        assert segments[-1].header == header


def test_diagnostics_tell_times_thresholds_and_model(robot, colour_network):
    robot.start(diagnostics_period=0.1, entropy_threshold=0.6, core_threshold=0.9)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    camera = robot.camera()
    robot.connect(camera)
    answer = robot.ask(camera, scene((60, 40, 10, 20)), segments)
    wait_for(lambda: facts().get('processed') == '1')
    told = facts()
    assert told.level == b'\x00'
    assert told.message == 'running'
    assert told['model_id'] == answer.model_id
    assert (told['backend'], told['precision'], told['device']) == ('eager', 'fp32', 'cpu')
    assert (told['score'], told['entropy_threshold']) == ('entropy', '0.6')
    assert told['core_threshold'] == '0.9'
    assert (told['meta_threshold'], told['work_short_side']) == ('0.5', '96')
    assert (told['image_size'], told['segments'], told['accepted']) == ('96 x 128', '1', '1')
    stages = 'wait decode preparation network dense segments metrics meta_classifier publish total'
    times = {stage: float(told[f'ms_{stage}']) for stage in stages.split()}
    assert times['total'] >= times['network'] + times['publish'] > 0
    assert float(told['frame_age_ms']) > 0
    status = facts.arrays[-1].status[0]
    assert (status.name, status.hardware_id) == ('/ood: image', 'cpu')


def test_threshold_without_its_own_meta_classifier_is_told(
    robot, colour_network, tiny_bundle, tmp_path
):
    from meta_ood_ros.core.bundle_files import save_bundle

    save_bundle(tiny_bundle, tmp_path / 'judging')
    robot.start(diagnostics_period=0.1, bundle=str(tmp_path / 'judging'))
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    camera = robot.camera()
    robot.connect(camera)
    answer = robot.ask(camera, scene((60, 40, 10, 20)), segments)
    assert answer.segments_found == 1
    wait_for(lambda: facts().get('processed') == '1')
    assert facts().level == b'\x00'
    assert robot.set(entropy_threshold=0.7) == ''
    robot.ask(camera, scene(), segments)
    wait_for(lambda: 'fitted at entropy_threshold 0.7: the one of 0.5 is used' in facts().message)
    assert facts().level == b'\x01'
    assert robot.set(entropy_threshold=0.5) == ''
    robot.ask(camera, scene(), segments)
    wait_for(lambda: facts().level == b'\x00')


def test_another_score_is_thresholded_published_and_named(robot, colour_network):
    robot.start(diagnostics_period=0.1, score='variation_ratio', entropy_threshold=0.9)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    entropy = robot.listen('ood/entropy', Image)
    camera = robot.camera()
    robot.connect(camera, outputs=['ood/segments', 'ood/entropy'])
    answer = robot.ask(camera, scene((60, 40, 10, 20)), segments)
    wait_for(lambda: entropy)
    box = np.zeros((96, 128), bool)
    box[60:70, 40:60] = True
    # all 19 classes alike on the box, one certain elsewhere: 1 - p1 is 18/19 and 0
    assert np.allclose(pixels(entropy[0]), np.where(box, 18 / 19, 0), atol=1e-5)
    assert (answer.score, answer.segments_found) == ('variation_ratio', 1)
    assert np.isclose(answer.score_threshold, 0.9)
    assert np.isclose(answer.segments[0].score_max, 18 / 19)
    wait_for(lambda: facts().get('score') == 'variation_ratio')
