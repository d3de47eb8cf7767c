"""What exists between on_configure and on_cleanup: network, worker, publishers, subscriptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
import math
import os
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from meta_ood_ros.core.settings import NodeSettings
from meta_ood_ros.node.diagnostics import (
    ALL_CAMERAS,
    CameraRecord,
    Conditions,
    count_facts,
    DiagnosticsPublisher,
    join_sentences,
    to_status,
)
from meta_ood_ros.node.loading import load_ignore_mask, load_pipeline
from meta_ood_ros.node.places.depth_topics import obstacle_maker, subscribe
from meta_ood_ros.node.places.ground_frame import GroundFrames
from meta_ood_ros.node.processing import FrameProcessor
from meta_ood_ros.node.publishers import CameraOutputs
from meta_ood_ros.node.qos import ImageSubscription, Misfit
from meta_ood_ros.node.scheduling import Frame, LatestFrames, Worker
from meta_ood_ros.node.shared_memory import explain_profile, explain_shared_memory, LARGE
from meta_ood_ros.node.silence import explain_missing_clock, explain_silence
from rclpy.lifecycle import LifecycleNode
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CompressedImage, Image


@dataclass(eq=False)
class _Camera:
    """What belongs to one camera."""

    outputs: CameraOutputs
    record: CameraRecord
    subscription: ImageSubscription | None = None
    depth: list[ImageSubscription] = field(default_factory=list)


class Session:
    """
    The configured node; made whole or not at all.

    Raises
    ------
    ValueError
        Something that the settings name cannot be had; one sentence says what and why.

    """

    def __init__(
        self,
        node: LifecycleNode,
        settings: NodeSettings,
        *,
        live: Callable[[], NodeSettings],
        diagnostics: DiagnosticsPublisher,
    ) -> None:
        self._node = node
        self._settings = settings
        self._live = live
        self._diagnostics = diagnostics
        self._told_threshold = math.nan
        self._misfits: dict[tuple[str, str], Misfit] = {}
        self._conditions = Conditions(node.get_logger().warning)
        masks = (
            settings.ignore_mask if any(settings.ignore_mask) else ('',) * len(settings.cameras)
        )
        loaded_masks = {
            camera: load_ignore_mask(mask)
            for camera, mask in zip(settings.cameras, masks, strict=True)
        }
        loaded = load_pipeline(settings)
        self.pipeline = loaded.pipeline
        for index, warning in enumerate(loaded.warnings):
            self._conditions.set(ALL_CAMERAS, f'loading {index}', warning)
        self._is_fastdds = 'fastrtps' in get_rmw_implementation_identifier()
        if self._is_fastdds:
            self._conditions.set(ALL_CAMERAS, 'shared memory', explain_shared_memory())
        self._cameras: dict[str, _Camera] = {}
        self._frames_of_tf2: GroundFrames | None = None
        try:
            for camera in settings.cameras:
                record = CameraRecord()
                outputs = CameraOutputs(
                    node,
                    camera,
                    self.pipeline.bundle,
                    explain=self._explainer(camera),
                    obstacles=obstacle_maker(
                        node,
                        camera,
                        settings,
                        frames=self._ground_frames,
                        explain=partial(self._conditions.set, camera, 'place'),
                        facts=record.facts,
                    ),
                )
                self._cameras[camera] = _Camera(outputs, record)
        except Exception:
            self.close()
            raise
        self._frames = LatestFrames(settings.cameras, on_drop=self._on_drop)
        self._processor = FrameProcessor(
            self.pipeline,
            self._frames,
            outputs={name: camera.outputs for name, camera in self._cameras.items()},
            masks=loaded_masks,
            records={name: camera.record for name, camera in self._cameras.items()},
            conditions=self._conditions,
            settings=live,
            is_alive=node.context.ok,
            ros_seconds=lambda: 1e-9 * node.get_clock().now().nanoseconds,
            log=node.get_logger().info,
            batch_sizes=loaded.batch_sizes,
            prepared=[loaded.work_size],
        )
        self._worker = Worker(
            self._frames,
            self._processor.compute,
            self._processor.send,
            limit=loaded.batch_sizes[-1],
        )

    def _ground_frames(self) -> GroundFrames:
        """Return the one listener to tf2 of all cameras."""
        self._frames_of_tf2 = self._frames_of_tf2 or GroundFrames(self._node)
        return self._frames_of_tf2

    def activate(self) -> None:
        """Say the class names, listen to the cameras and start to work."""
        self._processor.failures_in_a_row = 0
        self._told_threshold = math.nan
        try:
            self._tell_threshold()
            for name, camera in self._cameras.items():
                camera.record.last_arrival = time.monotonic()
                camera.subscription = self._subscribe(name)
                if camera.outputs.obstacles is not None:
                    camera.depth = subscribe(
                        self._node,
                        name,
                        self._settings,
                        camera.outputs.obstacles.inbox,
                        is_wanted=camera.outputs.obstacles.is_wanted,
                        explain=self._explainer(name),
                    )
            self._worker.start()
        except Exception:
            self.deactivate()
            raise

    def deactivate(self) -> None:
        """Stop listening and return when the frame in work has been sent."""
        for camera in self._cameras.values():
            if camera.subscription is not None:
                camera.subscription.destroy()
                camera.subscription = None
            while camera.depth:
                camera.depth.pop().destroy()
        self._worker.stop()
        # What was said about cameras and subscribers holds no longer.
        self._misfits.clear()
        for name in self._cameras:
            self._conditions.clear(name)

    def close(self) -> None:
        """Take the publishers away and let go of the network; the last call of all."""
        for camera in self._cameras.values():
            camera.outputs.destroy()
        if self._frames_of_tf2 is not None:
            self._frames_of_tf2.close()
        # The executor may hold a callback of this object for a while; not the network, though.
        for name in ('_worker', '_processor', 'pipeline'):
            self.__dict__.pop(name, None)

    def clear(self) -> None:
        """Drop what waits, because the clock jumped back: it belongs to another time."""
        self._frames.clear()
        if self._frames_of_tf2 is not None:
            self._frames_of_tf2.clear()
        for camera in self._cameras.values():
            if camera.outputs.obstacles is not None:
                camera.outputs.obstacles.inbox.clear()

    def poll(self) -> str:
        """Look after subscriptions and class names; called some times a second while active."""
        for camera in self._cameras.values():
            if camera.subscription is not None:
                camera.subscription.update()
            for subscription in camera.depth:
                subscription.update()
        self._tell_threshold()
        self._end_misfits()
        self._conditions.set(ALL_CAMERAS, 'clock', explain_missing_clock(self._node))
        failures = self._processor.failures_in_a_row
        if failures < self._live().max_failures:
            return ''
        return (
            f'{failures} frames in a row failed: the node becomes inactive. '
            f'{self._processor.last_failure}'
        )

    def _tell_threshold(self) -> None:
        """Send the class names with the threshold of acceptance, again when that changed."""
        _, meta_threshold = self.pipeline.effective_thresholds(self._live())
        if meta_threshold == self._told_threshold:
            return
        self._told_threshold = meta_threshold
        for camera in self._cameras.values():
            camera.outputs.publish_label_info(meta_threshold=meta_threshold)

    def _subscribe(self, name: str) -> ImageSubscription:
        topic = f'{name}/image' if name else 'image'
        is_compressed = self._settings.image_transport == 'compressed'
        if is_compressed:
            topic = compressed_topic(self._node, topic)
        return ImageSubscription(
            self._node,
            CompressedImage if is_compressed else Image,
            topic,
            lambda message: self._on_image(name, message),
            reliability=self._settings.image_reliability,
            explain=self._explainer(name),
        )

    def _explainer(self, camera: str) -> Callable[[str, str], None]:
        def explain(topic: str, sentence: str) -> None:
            self._misfits[camera, sentence] = Misfit(self._node, topic)
            self._conditions.set(camera, sentence, sentence)

        return explain

    def _end_misfits(self) -> None:
        ended = [key for key, misfit in self._misfits.items() if not misfit.stands()]
        for camera, sentence in ended:
            del self._misfits[camera, sentence]
            self._conditions.set(camera, sentence, '')

    def _on_image(self, name: str, message: Any) -> None:
        camera = self._cameras[name]
        camera.record.last_arrival = time.monotonic()
        if camera.outputs.is_wanted():
            self._frames.offer(name, message, max_rate=self._live().max_rate)
        else:
            self._frames.skip(name)

    def _on_drop(self, frame: Frame, cause: str) -> None:
        if cause in ('replaced', 'rate', 'cleared'):  # the others come with a sentence
            self._cameras[frame.camera].record.note_drop(frame, cause)
        if cause not in ('replaced', 'rate'):  # which a camera faster than the network causes
            self._diagnostics.hurry()

    def statuses(self, state: str) -> list[DiagnosticStatus]:
        """Return one status for each camera."""
        return [self._status(name, state) for name in self._cameras]

    def _status(self, name: str, state: str) -> DiagnosticStatus:
        camera, live, backend = self._cameras[name], self._live(), self.pipeline.backend
        active = state == 'active'
        idle = active and not camera.outputs.is_wanted()
        entropy_threshold, meta_threshold = self.pipeline.effective_thresholds(live)
        bundle = self.pipeline.bundle
        times = camera.record.mean_milliseconds()
        facts: dict[str, object] = {
            'state': state,
            'idle': idle,
            **count_facts(self._frames.counts[name]),
            **camera.record.facts,
            **{f'ms_{stage}': value for stage, value in times.items()},
            'model_id': bundle.model_id,
            'device': str(backend.device),
            'backend': backend.name,
            'precision': backend.precision,
            'score': self.pipeline.score,
            'entropy_threshold': entropy_threshold,
            'meta_threshold': meta_threshold,
            'core_threshold': self.pipeline.effective_core_threshold(live),
            'min_size_px': live.min_size_px or bundle.min_size_px,
            'work_short_side': self.pipeline.effective_short_side(live),
            'failures_in_a_row': self._processor.failures_in_a_row,
        }
        if camera.subscription is not None:
            facts['topic'] = camera.subscription.topic
            facts['reliability'] = camera.subscription.reliability.name.lower()
            self._conditions.set(
                name,
                'silence',
                explain_silence(self._node, name, camera.subscription, camera.record.last_arrival),
            )
        is_large = self._is_fastdds and camera.outputs.picture_bytes > LARGE
        self._conditions.set(name, 'profile', explain_profile(os.environ) if is_large else '')
        warnings = self._conditions.standing(ALL_CAMERAS, name)
        summary = state if not active else 'idle: nobody subscribes' if idle else 'running'
        return to_status(
            f'{self._node.get_fully_qualified_name()}: {name or "image"}',
            str(backend.device),
            level=DiagnosticStatus.WARN if warnings else DiagnosticStatus.OK,
            message=join_sentences([summary + '.' * bool(warnings), *warnings]),
            facts=facts,
        )


def compressed_topic(node: LifecycleNode, image: str) -> str:
    """Return what <image>/compressed is remapped to, else what <image> is, with /compressed."""
    whole = f'{image}/compressed'
    if node.resolve_topic_name(whole) != node.resolve_topic_name(whole, only_expand=True):
        return whole
    return f'{node.resolve_topic_name(image)}/compressed'
