"""One run of the demo, from the start of the node to the table."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
import math
import sys
import time

from meta_ood_msgs.msg import OodObstacleArray
from meta_ood_ros.demo.answers import Answer
from meta_ood_ros.demo.frames import DemoFrame, Source
from meta_ood_ros.demo.node import NodeDiedError, NodeProcess, prepare_environment
from meta_ood_ros.demo.output import OutputFolder
from meta_ood_ros.demo.pictures import draw_frame, draw_view, to_view
from meta_ood_ros.demo.player import Player
from meta_ood_ros.demo.report import Tally
from meta_ood_ros.demo.top_view import draw_top_view
from meta_ood_ros.demo.truth import compare_places, compare_with_truth, FrameTruth
import numpy as np
from tqdm import tqdm

#: Exit status when no frame at all could be used.
UNUSABLE = 3

_NODE_LOG = 'node.log'
#: Parameters that make every answer complete: an offline source never outruns the node, and with
#: rejected segments and metrics the recording is fit for fit-meta.
_PARAMETERS = {
    'max_age': 0.0,
    'publish_rejected': True,
    'publish_metrics': True,
    'publish_contours': True,
    'overlay_alpha': 0.4,
    'diagnostics_period': 0.2,
}


def run(source: Source, options: argparse.Namespace) -> int:
    """Play a source through the node; print the table."""
    demo = _Demo(source, options)
    status, problem = 0, ''
    try:
        demo.play()
    except KeyboardInterrupt:
        status, problem = 130, 'Interrupted. What was written before is kept.'
    except NodeDiedError as error:
        status, problem = 1, str(error)
    except OSError as error:
        status, problem = (
            1,
            f'Cannot write to {options.output}: {error.strerror or error}. Free some space or '
            'name another folder with --output. What was written before is kept.',
        )
    tally = demo.tally
    print(tally)
    if demo.output is not None:
        print(demo.output.summary())
    complaints = [problem, source.loss()]
    if not status and tally.lost + tally.incomplete:
        complaints.append('Frames or outputs were lost without a reason that the node reported.')
    nothing = '' if status else tally.describe_nothing()
    for sentence in filter(None, [*complaints, nothing]):
        print(sentence, file=sys.stderr)
    return status or (UNUSABLE if nothing else int(any(complaints[2:])))


class _Demo:
    """The parts of a run, made and taken down in order."""

    def __init__(self, source: Source, options: argparse.Namespace) -> None:
        self._source, self._options = source, options
        self.tally = Tally()
        self.output: OutputFolder | None = None

    def play(self) -> None:
        """Start everything, play, and stop everything whatever happens."""
        source, options = self._source, self._options
        with ExitStack() as stack:
            # The folder first, so that it is closed last: what was written stays readable.
            self.output = OutputFolder(
                options.output,
                frames=len(source),
                title=f'meta_ood: {source.title}',
                record=not options.no_recording,
            )
            stack.callback(self.output.close)
            domain = prepare_environment(options.domain)
            node = NodeProcess(
                self._parameters(),
                namespace=options.namespace,
                log=self.output.folder / _NODE_LOG,
            )
            stack.callback(node.stop)
            print(f'Playing {source.title}: {len(source)} frames, ROS_DOMAIN_ID {domain}.')
            print('Starting the node; its first start compiles kernels.', flush=True)
            start = time.monotonic()
            player = Player(
                options.cameras,
                namespace=options.namespace,
                transport=source.transport,
                has_depth=source.has_depth,
                record=self.output.record,
                check_node=node.check,
            )
            stack.callback(player.close)
            # Ends before the folder is closed: nothing is drawn any more then.
            workers = stack.enter_context(ThreadPoolExecutor(2))
            frames = _ahead(source, workers)
            player.wait_for_node()
            print(f'The node is ready after {time.monotonic() - start:.1f} s.', flush=True)
            bar = stack.enter_context(tqdm(total=len(source), unit='frame', mininterval=0.5))
            self._play(player, frames, workers, bar)
            for sentence in node.warnings():
                # An offline source pauses as long as the node takes; that is no silent camera.
                if not sentence.startswith('No image arrives'):
                    bar.write(f'The node warned: {sentence}')

    def _parameters(self) -> dict[str, object]:
        options = self._options
        chosen: dict[str, object] = {'image_transport': self._source.transport}
        if self._source.has_depth:
            chosen['depth'] = ['image']
        if options.bundle is not None:
            # What is no directory may be the name of an installed bundle, which the node knows.
            there = options.bundle.is_dir()
            chosen['bundle'] = str(options.bundle.resolve() if there else options.bundle)
        if options.device is not None:
            chosen['device'] = options.device
        if options.cameras != ['']:
            chosen['cameras'] = options.cameras
        return _PARAMETERS | chosen

    def _play(
        self,
        player: Player,
        source: Iterator[DemoFrame],
        workers: ThreadPoolExecutor,
        bar: tqdm,
    ) -> None:
        drawn: list[Future[FrameTruth | None]] = []
        number = 0
        for frames in self._rounds(source, bar):
            answers = player.play(frames)
            self._collect(drawn)
            drawn = []
            for answer in answers:
                self.tally.add(answer)
                self._tell(answer, bar)
                if answer.segments is not None:
                    drawn.append(workers.submit(self._draw, number, answer))
                number += 1
            bar.update(len(answers))
            bar.set_postfix_str(f'{self.tally.accepted} unknown segments', refresh=False)
        self._collect(drawn)

    def _rounds(self, source: Iterator[DemoFrame], bar: tqdm) -> Iterator[dict[str, DemoFrame]]:
        """Deal the readable frames to the cameras."""
        cameras = self._options.cameras
        dealt: dict[str, DemoFrame] = {}
        for frame in source:
            self.tally.frames += 1
            if frame.complaint:
                self.tally.leave_out(frame.complaint)
                bar.write(f'{frame.name} is left out: {frame.complaint}')
                bar.update()
                continue
            dealt[cameras[len(dealt)]] = frame
            if len(dealt) == len(cameras):
                yield dealt
                dealt = {}
        if dealt:
            yield dealt

    def _tell(self, answer: Answer, bar: tqdm) -> None:
        where = f'{answer.camera}: ' if answer.camera else ''
        if answer.drop:
            bar.write(f'{where}{answer.frame.name} was dropped by the node: {answer.drop}')
        elif answer.is_lost:
            bar.write(f'{where}{answer.frame.name} got no answer.')
        elif answer.missing:
            bar.write(f'{where}{answer.frame.name} lacks {", ".join(answer.missing)}.')

    def _collect(self, drawn: Iterable[Future[FrameTruth | None]]) -> None:
        for future in drawn:
            truth = future.result()  # raises what went wrong while the node was busy
            if truth is not None:
                self.tally.truth.append(truth)

    def _draw(self, number: int, answer: Answer) -> FrameTruth | None:
        """Write the picture of one frame, and compare it with the truth where that is known."""
        frame, segments, output = answer.frame, answer.segments, self.output
        assert segments is not None  # only what was answered is drawn
        assert output is not None  # play() opened it
        accepted = segments.segments_found - segments.segments_rejected
        where = f'{answer.camera} / {frame.name}' if answer.camera else frame.name
        note = f'{accepted} unknown, {segments.segments_rejected} rejected, '
        note += f'{answer.latency_ms:.0f} ms'
        view = to_view(where, note, frame.image, answer)
        if view is not None:
            name = f'{answer.camera}_{frame.name}' if answer.camera else frame.name
            output.write_picture(number, name, draw_frame(view))
            if output.sheet.wants(number):
                output.sheet.add(draw_view(view), f'{where}: {note}')
        if frame.scene is None or 'segment_ids' not in answer.pictures:
            return None
        message = answer.picture('segment_ids')
        ids = np.frombuffer(message.data, np.uint16).reshape(message.height, message.width)
        accepted_ids = np.array([one.id for one in segments.segments if one.accepted], np.uint16)
        scene = frame.scene
        truth = compare_with_truth(ids, accepted_ids, scene.ood_ids, scene.classes == 255)
        if answer.obstacles is None:
            return truth
        positions = _positions(answer.obstacles)
        if output.top_view.wants(number):
            placed = [one for one in positions.values() if one is not None]
            edge = math.atan(scene.camera_matrix[0, 2] / scene.camera_matrix[0, 0])
            note = f'{where}: {len(placed)} of {len(positions)} placed'
            output.top_view.add(draw_top_view(scene.ood_positions, placed, edge), note)
        places = compare_places(ids, positions, scene.ood_ids, scene.ood_positions)
        return replace(truth, places=places)


def _positions(
    obstacles: OodObstacleArray,
) -> dict[int, tuple[float, float, float] | None]:
    """Return the position of each obstacle by its id, None without."""
    return {
        one.id: None
        if one.source == one.SOURCE_NONE
        else (one.position.x, one.position.y, one.position.z)
        for one in obstacles.obstacles
    }


def _ahead(source: Source, workers: ThreadPoolExecutor) -> Iterator[DemoFrame]:
    """Return an iterator over the frames; the next is made while the node works on one."""
    frames = iter(source)
    first = workers.submit(next, frames, None)  # at once, while the node starts

    def deliver() -> Iterator[DemoFrame]:
        upcoming = first
        while (frame := upcoming.result()) is not None:
            upcoming = workers.submit(next, frames, None)
            yield frame

    return deliver()
