"""Waiting frames -> their answers: all that happens to an image, in the worker's threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
import math
import time

from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.received_grid import to_received_labels
from meta_ood_ros.core.result import OodResult
from meta_ood_ros.core.settings import NodeSettings
from meta_ood_ros.messages.conversions import to_rgb
from meta_ood_ros.node.batching import group
from meta_ood_ros.node.diagnostics import ALL_CAMERAS, CameraRecord, Conditions, join_sentences
from meta_ood_ros.node.publishers import CameraOutputs
from meta_ood_ros.node.scheduling import Frame, LatestFrames
from meta_ood_ros.node.threshold_warning import threshold_warning
import numpy as np

#: Stamps older than this, or further ahead, in seconds, mean that two clocks disagree.
OLDEST_STAMP = 10.0
NEWEST_STAMP = -1.0

# A camera whose size changes with every frame is not told about for ever.
_MOST_ANNOUNCED = 32


@dataclass(frozen=True, eq=False)
class Answer:
    """
    A processed frame on its way out.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8
        RGB, perhaps a view of the message.

    """

    frame: Frame
    image: np.ndarray
    result: OodResult
    settings: NodeSettings
    milliseconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class _Opened:
    """A frame that has been decoded, with all that the network needs to know."""

    frame: Frame
    image: np.ndarray
    settings: NodeSettings
    work_size: tuple[int, int]
    mask: np.ndarray | None
    milliseconds: dict[str, float]


class FrameProcessor:
    """
    Decodes, computes and sends frames; whatever is wrong with one ends with it.

    Parameters
    ----------
    masks : mapping of str to ndarray of shape (h, w), bool, or None
        Ignored pixels by camera, at any size.

    """

    def __init__(
        self,
        pipeline: OodPipeline,
        frames: LatestFrames,
        *,
        outputs: Mapping[str, CameraOutputs],
        masks: Mapping[str, np.ndarray | None],
        records: Mapping[str, CameraRecord],
        conditions: Conditions,
        settings: Callable[[], NodeSettings],
        is_alive: Callable[[], bool],
        ros_seconds: Callable[[], float],
        log: Callable[[str], None],
        batch_sizes: Sequence[int] = (1,),
        prepared: Iterable[tuple[int, int]] = (),
    ) -> None:
        self._pipeline = pipeline
        self._frames = frames
        self._outputs = outputs
        self._masks = masks
        self._sized_masks: dict[str, np.ndarray] = {}
        self._records = records
        self._conditions = conditions
        self._settings = settings
        self._is_alive = is_alive
        self._ros_seconds = ros_seconds
        self._log = log
        self._batch_sizes = batch_sizes
        self._prepared = set(prepared)
        self.failures_in_a_row = 0
        self.last_failure = ''

    def compute(self, frames: list[Frame]) -> Iterator[Answer]:
        """Yield the answers to the frames; those that are dropped have none."""
        opened = [one for frame in frames if (one := self._open_or_drop(frame)) is not None]
        for batch in group(opened, key=lambda one: one.work_size, sizes=self._batch_sizes):
            yield from self._answer(batch)

    def _open_or_drop(self, frame: Frame) -> _Opened | None:
        try:
            return self._open(frame)
        except Exception as error:  # whatever it is: the thread must live on
            self._fail(frame, error)
            return None

    def _open(self, frame: Frame) -> _Opened | None:
        settings = self._settings()
        waited = self._frames.age(frame)
        if 0 < settings.max_age < waited:
            sentence = f'it waited {waited:.3g} s, max_age is {settings.max_age:.3g} s'
            self._drop(frame, 'stale', sentence)
            return None
        self._look_at_stamp(frame)
        start = time.perf_counter()
        try:
            remarks: list[str] = []
            image = to_rgb(
                frame.message,
                bits=settings.mono16_bits,
                max_pixels=settings.max_image_pixels,
                warn=remarks.append,
            )
            work_size = self._pipeline.work_size(image.shape[:2], settings)
        except Exception as error:  # whatever a driver sends, the next frame may be good
            self._drop(frame, 'invalid', str(error))
            sentence = f'{_named(frame.camera)}: {error} Such frames are dropped.'
            self._conditions.set(frame.camera, 'invalid', sentence)
            return None
        self._conditions.set(frame.camera, 'invalid', '')
        remark = f'{_named(frame.camera)}: {join_sentences(remarks)}' if remarks else ''
        self._conditions.set(frame.camera, 'picture', remark)
        milliseconds = {
            'wait': 1000 * waited,
            'decode': 1000 * (time.perf_counter() - start),
        }
        size = image.shape[:2]
        self._announce(work_size)
        mask = self._mask(frame.camera, size)
        return _Opened(frame, image, settings, work_size, mask, milliseconds)

    def _answer(self, batch: list[_Opened]) -> list[Answer]:
        """Return the answers to frames that go through the network together."""
        try:
            results = self._pipeline.batch(
                [one.image for one in batch],
                settings=[self._for_work_grid(one) for one in batch],
                ignore_masks=[one.mask for one in batch],
            )
            return [
                self._to_answer(*pair, len(batch)) for pair in zip(batch, results, strict=True)
            ]
        except Exception as error:  # of the network or whatever else: the thread must live on
            if len(batch) > 1:
                return self._answer_each(batch, error)
            self._fail(batch[0].frame, error)
            return []

    def _answer_each(self, batch: list[_Opened], error: Exception) -> list[Answer]:
        """Return the answers to frames that failed together: one of them may be to blame."""
        answers = [answer for one in batch for answer in self._answer([one])]
        if len(answers) == len(batch):
            # None of them was. Every further batch would be computed in vain, then once more.
            self._batch_sizes = (1,)
            self._conditions.log_once(
                f'{len(batch)} frames could not be processed together, but each by itself '
                f'({type(error).__name__}: {error}). From now on they go through the network one '
                'by one. Free memory on the GPU, then deactivate, clean up and configure.'
            )
        return answers

    def _to_answer(self, one: _Opened, result: OodResult, together: int) -> Answer:
        self._look_at(one, result)
        self._records[one.frame.camera].facts['batch'] = str(together)
        milliseconds = one.milliseconds | result.milliseconds
        return Answer(one.frame, one.image, result, one.settings, milliseconds)

    def send(self, answer: Answer) -> None:
        """Publish an answer and count its frame."""
        frame, start = answer.frame, time.perf_counter()
        try:
            self._outputs[frame.camera].publish(
                answer.result, answer.settings, header=frame.message.header, image=answer.image
            )
        except Exception as error:
            if self._is_alive():
                self._fail(frame, error)
            return
        self.failures_in_a_row = 0
        self._frames.count_processed(frame)
        record, age = self._records[frame.camera], self._frames.age(frame)
        publish = 1000 * (time.perf_counter() - start)
        record.milliseconds.append(answer.milliseconds | {'publish': publish, 'total': 1000 * age})
        record.facts['frame_age_ms'] = f'{1000 * age:.4g}'

    def _announce(self, work: tuple[int, int]) -> None:
        """Say that a backend of fixed sizes has to be built for this one before it can answer."""
        backend = self._pipeline.backend
        if (
            backend.name == 'eager'
            or work in self._prepared
            or len(self._prepared) >= _MOST_ANNOUNCED
        ):
            return
        self._prepared.add(work)
        self._log(
            f'Backend {backend.name} meets images of {work[0]} x {work[1]} for the first time: '
            'if it has to be built for them, frames are dropped meanwhile.'
        )

    def _drop(self, frame: Frame, cause: str, sentence: str) -> None:
        self._records[frame.camera].note_drop(frame, cause, sentence)
        self._frames.drop(frame, cause)

    def _fail(self, frame: Frame, error: Exception) -> None:
        self.last_failure = f'{type(error).__name__}: {error}'
        self.failures_in_a_row += 1
        self._conditions.log_once(
            f'{_named(frame.camera)}: a frame could not be processed. {self.last_failure}'
        )
        self._drop(frame, 'failed', self.last_failure)

    def _for_work_grid(self, one: _Opened) -> NodeSettings:
        if one.settings.min_size_px == 0:
            return one.settings
        return _with_min_size_on(one.settings, one.image.shape[:2], one.work_size)

    def _mask(self, camera: str, size: tuple[int, int]) -> np.ndarray | None:
        mask = self._masks.get(camera)
        if mask is None:
            return None
        sized = self._sized_masks.get(camera)
        if sized is None or sized.shape != size:
            sized = self._sized_masks[camera] = to_received_labels(mask, size)
        return sized

    def _look_at_stamp(self, frame: Frame) -> None:
        stamp = frame.message.header.stamp
        now = self._ros_seconds()
        age = now - (stamp.sec + 1e-9 * stamp.nanosec)
        self._records[frame.camera].facts['stamp_age_s'] = f'{age:.4g}'
        sentence = ''
        if stamp.sec == stamp.nanosec == 0:
            sentence = (
                f'{_named(frame.camera)}: the driver sets no stamp. Have it stamp its images: '
                'answers carry the same, and nothing can be matched with them.'
            )
        # At 0 no time has come on /clock yet, which is said by itself.
        elif now and not NEWEST_STAMP <= age <= OLDEST_STAMP:
            sentence = (
                f'{_named(frame.camera)}: stamps are from the future or more than '
                f'{OLDEST_STAMP:.0f} s old. Set use_sim_time when a bag is played, or '
                'synchronise the clocks.'
            )
        self._conditions.set(frame.camera, 'stamp', sentence)

    def _look_at(self, one: _Opened, result: OodResult) -> None:
        camera = one.frame.camera
        facts = self._records[camera].facts
        size = f'{result.image_size[0]} x {result.image_size[1]}'
        before = facts.get('image_size', size)
        if before != size:
            self._conditions.log_once(
                f'{_named(camera)}: the size of images changed from {before} to {size}.'
            )
        facts['image_size'] = size
        facts['work_size'] = f'{result.work_size[0]} x {result.work_size[1]}'
        facts['segments'] = str(result.segments.count)
        facts['accepted'] = str(int(result.accepted.sum()))
        sentence = threshold_warning(result, self._pipeline.bundle, one.settings)
        self._conditions.set(ALL_CAMERAS, 'meta classifier', sentence)


@lru_cache(maxsize=16)
def _with_min_size_on(
    settings: NodeSettings, size: tuple[int, int], work: tuple[int, int]
) -> NodeSettings:
    """Return the settings with min_size_px in pixels of the work grid."""
    share = (work[0] * work[1]) / (size[0] * size[1])
    pixels = math.ceil(settings.min_size_px * share - 1e-9)
    return replace(settings, min_size_px=max(1, min(pixels, 10_000_000)))


def _named(camera: str) -> str:
    return f'Camera {camera}' if camera else 'Camera'
