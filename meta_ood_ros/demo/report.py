"""What the demo counted -> the table it prints."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from meta_ood_ros.demo.answers import Answer
from meta_ood_ros.demo.truth import FrameTruth
import numpy as np

#: So many different causes are told apart where no frame could be used.
_CAUSES = 4
#: Error of a place as a share of the distance that counts as right.
_NEAR = 0.1


@dataclass(eq=False)
class Tally:
    """Counts of a run; frames sent = processed + dropped + lost, unless it was broken off."""

    frames: int = 0
    unreadable: int = 0
    sent: int = 0
    processed: int = 0
    lost: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    found: int = 0
    accepted: int = 0
    incomplete: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    truth: list[FrameTruth] = field(default_factory=list)
    #: Why frames could not be used, in the words of whoever refused them.
    causes: Counter[str] = field(default_factory=Counter)

    def leave_out(self, complaint: str) -> None:
        """Count a frame that cannot even be sent."""
        self.unreadable += 1
        self.causes[complaint] += 1

    def describe_nothing(self) -> str:
        """Say why no frame at all could be used; '' where some could."""
        if self.processed:
            return ''
        if not self.frames:
            return 'No frame could be used: none came.'
        shown = [f'{count} x {cause}' for cause, count in self.causes.most_common(_CAUSES)]
        others = self.causes.total() - sum(c for _, c in self.causes.most_common(_CAUSES))
        shown += [f'{others} for other causes'] if others else []
        return f'None of {self.frames} frames could be used: {"; ".join(shown)}'

    def add(self, answer: Answer) -> None:
        """Count what became of a frame that was sent."""
        self.sent += 1
        if answer.drop:
            self.drops[answer.drop.partition(':')[0]] += 1
            self.causes[f'dropped by the node, {answer.drop}'] += 1
        elif answer.segments is None:
            self.lost += 1
            self.causes['no answer came.'] += 1
        else:
            self.processed += 1
            self.found += answer.segments.segments_found
            self.accepted += answer.segments.segments_found - answer.segments.segments_rejected
            self.incomplete += bool(answer.missing)
            self.latencies_ms.append(answer.latency_ms)

    def rows(self) -> list[tuple[str, str]]:
        """Return the table: what, and how much."""
        drops = ', '.join(f'{cause}: {count}' for cause, count in self.drops.items())
        rows = [('frames in', str(self.frames))]
        if self.unreadable:
            rows.append(('unreadable, not sent', str(self.unreadable)))
        rows += [
            ('frames processed', str(self.processed)),
            ('frames dropped', f'{self.drops.total()}{f" ({drops})" if drops else ""}'),
        ]
        if self.lost:
            rows.append(('frames lost without a reason', str(self.lost)))
        if self.incomplete:
            rows.append(('frames that lack an output', str(self.incomplete)))
        rows.append(('segments found / accepted', f'{self.found} / {self.accepted}'))
        if self.latencies_ms:
            p50, p95 = np.percentile(self.latencies_ms, [50, 95])
            rows.append(('latency p50 / p95', f'{p50:.0f} / {p95:.0f} ms'))
        return rows + self._truth_rows()

    def _truth_rows(self) -> list[tuple[str, str]]:
        if not self.truth:
            return []
        rows = []
        for name, large in (('of 400 px or more', True), ('smaller', False)):
            known = [one for frame in self.truth for one in frame.objects if one.is_large == large]
            if known:
                found = sum(one.is_found for one in known)
                share = f'{found} of {len(known)} ({found / len(known):.0%})'
                rows.append((f'unknown objects found, {name}', share))
        wrong = sum(frame.false_segments for frame in self.truth)
        rows.append(('false accepted segments a frame', f'{wrong / len(self.truth):.2f}'))
        return rows + self._place_rows()

    def _place_rows(self) -> list[tuple[str, str]]:
        places = [one for frame in self.truth for one in frame.places]
        if not places:
            return []
        placed = [one for one in places if one.placed is not None]
        near = sum(one.share <= _NEAR for one in places)
        rows = []
        if placed:
            error = np.median([one.error for one in placed])
            share = np.median([one.share for one in placed])
            rows.append(('median error of places', f'{error:.2f} m ({share:.1%})'))
        rows.append(
            (
                f'objects placed within {_NEAR:.0%}',
                f'{near} of {len(places)} ({near / len(places):.0%})',
            )
        )
        return rows

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        line = '-' * (width + 3 + max(len(value) for _, value in rows))
        table = [f'{name:<{width}} | {value}' for name, value in rows]
        return '\n'.join([line, *table, line])
