"""Messages of several topics of a bag -> those of equal stamp, in whatever order they lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
import zlib

from meta_ood_ros.bags.bag import Bag, RecordedMessage


def read_stamped(
    bag: Bag, *topics: str, unstamped: Counter[str] | None = None
) -> Iterator[tuple[int, RecordedMessage]]:
    """Yield stamp and message of those that have a stamp; the others are counted by topic."""
    for message in bag.read(*topics):
        try:
            stamp = message.stamp_ns
        except ValueError:
            if unstamped is not None:
                unstamped[message.raw.topic] += 1
            continue
        yield stamp, message


def match_stamps(
    bag: Bag, topic: str, others: Collection[str], stamps: Collection[int], *, losses: list[str]
) -> Iterator[tuple[int, dict[str, RecordedMessage]]]:
    """
    Yield the messages of each stamp once all its topics have one.

    Parameters
    ----------
    bag : Bag
        Read once for the others, which are kept compressed, and once for `topic`, of which one
        message at a time is in memory: labels may come after all images.

    Yields
    ------
    (int, dict of str to RecordedMessage)
        A stamp and its messages by topic, in the order of `topic`; each stamp once, with the
        first message of each topic.

    """
    held: dict[int, dict[str, RecordedMessage]] = {stamp: {} for stamp in stamps}
    for stamp, message in read_stamped(bag, *others) if others else ():
        found = held.get(stamp)
        if found is not None and message.raw.topic not in found:
            found[message.raw.topic] = _with_data(message, zlib.compress(message.raw.data, 1))
    missing = {
        stamp: [one for one in others if one not in found]
        for stamp, found in held.items()
        if len(found) < len(others)
    }
    for stamp in missing:
        del held[stamp]
    for stamp, message in read_stamped(bag, topic):
        if stamp not in held:
            continue
        beside = {
            name: _with_data(one, zlib.decompress(one.raw.data))
            for name, one in held.pop(stamp).items()
        }
        yield stamp, {topic: message, **beside}
    if missing:
        topics = sorted({one for lacking in missing.values() for one in lacking})
        losses.append(f'{len(missing)} labelled frames lack a message on {" or ".join(topics)}')


def _with_data(message: RecordedMessage, data: bytes) -> RecordedMessage:
    return RecordedMessage(replace(message.raw, data=data), message.types)
