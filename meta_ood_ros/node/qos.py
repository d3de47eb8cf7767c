"""Quality of service: how images are subscribed to, and what stands in their way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import time
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    qos_check_compatible,
    qos_policy_name_from_kind,
    QoSCompatibility,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

# Reliability is left out: the node chooses it, see ImageSubscription.
_HISTORY_AND_DEPTH = QoSOverridingOptions((QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH))

_RELIABILITY_DESCRIPTOR = ParameterDescriptor(
    description="reliable, best_effort or auto; '' leaves the choice to image_reliability.",
    read_only=True,
)

#: The reliability of the publishers is looked at this often, in seconds.
DECIDE_PERIOD = 1.0

#: Ends that do not fit are looked for this often, in seconds: longer than discovery takes.
MISFIT_PERIOD = 3.0


def output_qos(*, depth: int = 1, latched: bool = False) -> QoSProfile:
    """
    Return the QoS of an output: reliable, the latest messages only.

    Returns
    -------
    QoSProfile
        A new one each time, because rclpy writes overrides into the one it is given.

    """
    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=durability,
    )


def decide_reliability(
    offered: Sequence[ReliabilityPolicy], current: ReliabilityPolicy | None = None
) -> ReliabilityPolicy:
    """
    Return the reliability to subscribe with.

    Returns
    -------
    ReliabilityPolicy
        RELIABLE if every publisher offers it (with best effort FastDDS loses images of some
        megabytes), else BEST_EFFORT (a reliable subscription gets nothing from a best-effort
        publisher).

    """
    if not offered:
        return ReliabilityPolicy.RELIABLE if current is None else current
    if all(one == ReliabilityPolicy.RELIABLE for one in offered):
        return ReliabilityPolicy.RELIABLE
    return ReliabilityPolicy.BEST_EFFORT


def output_events(topic: str, explain: Callable[[str, str], None]) -> PublisherEventCallbacks:
    """Return callbacks that explain why a subscriber gets nothing."""

    def incompatible(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        # Of what can be incompatible, rclpy lets a user override the reliability alone.
        override = f', or set qos_overrides.{topic}.publisher.reliability'
        explain(
            topic,
            f'A subscriber of {topic} asks for another {policy} than is offered and gets nothing. '
            f'Relax its {policy.lower()}{override if policy == "RELIABILITY" else ""}.',
        )

    return PublisherEventCallbacks(incompatible_qos=incompatible)


class Misfit:
    """
    A publisher and a subscriber whose QoS do not fit: an event says when they meet.

    No event says when one of them has gone.
    """

    def __init__(self, node: Node, topic: str) -> None:
        self._node = node
        self._topic = topic
        self._due = time.monotonic() + MISFIT_PERIOD

    def stands(self) -> bool:
        """Return whether they are still there, as far as was seen some seconds ago."""
        now = time.monotonic()
        if now < self._due:
            return True
        self._due = now + MISFIT_PERIOD
        own = self._node.get_name(), self._node.get_namespace()
        return any(
            qos_check_compatible(one.qos_profile, other.qos_profile)[0] == QoSCompatibility.ERROR
            for one in self._node.get_publishers_info_by_topic(self._topic)
            for other in self._node.get_subscriptions_info_by_topic(self._topic)
            if own in ((end.node_name, end.node_namespace) for end in (one, other))
        )


class ImageSubscription:
    """The subscription to one camera, made anew when its publishers change reliability."""

    def __init__(
        self,
        node: Node,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        *,
        reliability: str,
        explain: Callable[[str, str], None],
    ) -> None:
        self._node = node
        self._message_type = message_type
        self._callback = callback
        self._explain = explain
        self._subscription: Any = None
        self._due = 0.0
        self._publishers = 0
        #: Since when it listens to the present publishers, by the monotonic clock.
        self.since = time.monotonic()
        self._name = topic
        self.topic = node.resolve_topic_name(topic)
        self._wanted = self._overridden(reliability)
        self.reliability = decide_reliability(self._offered())
        if self._wanted != 'auto':
            self.reliability = ReliabilityPolicy[self._wanted.upper()]
        self._subscribe()

    def update(self) -> None:
        """Look at the publishers again, once a second or after one came; make anew if need be."""
        now = time.monotonic()
        if self._wanted != 'auto' or now < self._due:
            return
        self._due = now + DECIDE_PERIOD
        reliability = decide_reliability(self._offered(), self.reliability)
        if reliability != self.reliability:
            self.reliability = reliability
            self._node.get_logger().info(
                f'Subscribing to {self.topic} with {reliability.name.lower()}: so do its '
                'publishers offer it.'
            )
            self.destroy()
            self._subscribe()

    def publishers(self) -> tuple[int, list[str]]:
        """Return how many publish what is subscribed to, and what else the topic carries."""
        package = self._message_type.__module__.partition('.')[0]
        wanted = f'{package}/msg/{self._message_type.__name__}'
        found = [one.topic_type for one in self._node.get_publishers_info_by_topic(self.topic)]
        if found.count(wanted) > self._publishers:
            self.since = time.monotonic()  # what has just come may not have sent anything yet
        self._publishers = found.count(wanted)
        return self._publishers, sorted(set(found) - {wanted})

    def destroy(self) -> None:
        """Stop listening."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _overridden(self, reliability: str) -> str:
        """Return the reliability of the standard parameter where it is set, else the given one."""
        # rclpy declares it with the first value it subscribes with and takes that ever after, so
        # a choice that may change has to be declared here.
        name = f'qos_overrides.{self.topic}.subscription.reliability'
        if not self._node.has_parameter(name):
            self._node.declare_parameter(name, '', _RELIABILITY_DESCRIPTOR)
        value = str(self._node.get_parameter(name).value).lower()
        if value not in ('', 'auto', 'reliable', 'best_effort'):
            raise ValueError(
                f'{name} must be reliable, best_effort or auto, got {value!r}. Correct it, or use '
                'the parameter image_reliability.'
            )
        return value or reliability

    def _offered(self) -> list[ReliabilityPolicy]:
        found = self._node.get_publishers_info_by_topic(self.topic)
        return [one.qos_profile.reliability for one in found]

    def _subscribe(self) -> None:
        self.since = time.monotonic()
        self._subscription = self._node.create_subscription(
            self._message_type,
            self._name,
            self._callback,
            QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=self.reliability),
            qos_overriding_options=_HISTORY_AND_DEPTH,
            event_callbacks=self._events(),
        )

    def _events(self) -> SubscriptionEventCallbacks:
        try:
            return SubscriptionEventCallbacks(
                incompatible_qos=self._on_incompatible, matched=self._on_matched
            )
        except TypeError:  # Humble has no matched events: once a second has to do
            return SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible)

    def _on_matched(self, _: Any) -> None:
        self._due = 0.0  # not here: a subscription cannot be destroyed in its own callback

    def _on_incompatible(self, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        if self._wanted == 'auto' and 'RELIABILITY' in policy:
            self._due = 0.0
            return
        self._explain(
            self.topic,
            f'A publisher of {self.topic} offers another {policy} than the node asks for '
            f'({self.reliability.name.lower()}): none of its images arrives. '
            'Set image_reliability to auto or best_effort.',
        )
