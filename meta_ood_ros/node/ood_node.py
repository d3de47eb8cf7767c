"""The lifecycle node `ood`: camera images in, OoD segments and maps out. No algorithm."""

from __future__ import annotations

from collections.abc import Sequence
import gc
import sys
import traceback

from diagnostic_msgs.msg import DiagnosticStatus
from meta_ood_ros.core.kernels.memory import share_one_heap
from meta_ood_ros.node.command_line import explain_refusal, without_effect
from meta_ood_ros.node.diagnostics import DiagnosticsPublisher, to_status
from meta_ood_ros.node.forwarded_log import ForwardedLog
from meta_ood_ros.node.parameters import Parameters
from meta_ood_ros.node.session import Session
import rclpy
from rclpy.clock import Clock, ClockType, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
import torch

#: Subscriptions, failures and diagnostics are looked after this often, in seconds.
POLL_PERIOD = 0.1

# What ROS raises where it cannot start.
_REFUSALS = (
    rclpy_implementation.RCLError,
    rclpy_implementation.UnknownROSArgsError,
    InvalidParameterTypeException,
)

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class OodNode(LifecycleNode):
    """
    Tells a robot what its segmentation network does not know.

    Parameters
    ----------
    name : str
        Of the node.
    **arguments
        Of rclpy.lifecycle.LifecycleNode.

    """

    def __init__(self, name: str = 'ood', **arguments: object) -> None:
        super().__init__(name, **arguments)
        self._phase = 'unconfigured'
        self._error = ''
        self._session: Session | None = None
        self._forwarded_log = ForwardedLog(self.get_logger())
        self.parameters = Parameters(self, is_unconfigured=lambda: self._phase == 'unconfigured')
        self._diagnostics = DiagnosticsPublisher(self)
        # The steady clock: with use_sim_time and no /clock this still has to say what is wrong.
        self._timer = self.create_timer(
            POLL_PERIOD, self._poll, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._jumps = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False
            ),
            post_callback=self._on_jump,
        )

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network and create the publishers; on a user's mistake say it in one line."""
        try:
            settings = self.parameters.settings()
            for sentence in self.parameters.misspelled():
                self.get_logger().warning(sentence)
            self._session = Session(
                self,
                settings,
                live=lambda: self.parameters.live,
                diagnostics=self._diagnostics,
            )
        except Exception as error:
            self._complain(f'Cannot configure: {error}')
            self.get_logger().debug(traceback.format_exc())
            return FAILURE
        pipeline = self._session.pipeline
        self.get_logger().info(
            f'Bundle {pipeline.bundle.model_id} on {pipeline.backend.device} '
            f'({pipeline.backend.name}, {pipeline.backend.precision}).'
        )
        self._enter('inactive')
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let the publishers speak, then subscribe and start to work."""
        if self.parameters.value('build_only'):
            self._complain('Cannot activate: build_only is set. Clean up, set it to false.')
            return FAILURE
        result = super().on_activate(state)
        if result != SUCCESS:
            return result
        try:
            self._session.activate()
        except Exception as error:
            self._complain(f'Cannot activate: {error}')
            self.get_logger().debug(traceback.format_exc())
            super().on_deactivate(state)
            return FAILURE
        self._enter('active')
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Finish the frame in work, then be silent."""
        self._session.deactivate()
        self._phase = 'inactive'
        self._diagnostics.hurry()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give back the network and the publishers."""
        self._release()
        self._enter('unconfigured')
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything back, from whatever state."""
        self._release()
        self._enter('finalized')
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything back, so that the node can be configured again."""
        self._release()
        self._phase = 'unconfigured'
        return super().on_error(state)

    def destroy_node(self) -> None:
        """Stop the worker before what it publishes with is gone."""
        self._release()
        self._jumps.unregister()
        self._forwarded_log.close()
        super().destroy_node()

    def _release(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        session.deactivate()
        session.close()
        # Its parts refer to each other; what is left to the next collection would hold the memory
        # of a network while another one is loaded.
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def _enter(self, state: str) -> None:
        self._phase, self._error = state, ''
        self._diagnostics.hurry()

    def _complain(self, sentence: str) -> None:
        if not self.context.ok():
            return  # it fails because the process is about to end
        self._error = ' '.join(sentence.split())  # parsers of YAML write several lines
        self.get_logger().error(self._error)
        self._diagnostics.hurry()

    def _poll(self) -> None:
        if self._session is not None and self._phase == 'active':
            reason = self._session.poll()
            if reason:
                self._complain(reason)
                self.trigger_deactivate()
        self._diagnostics.poll(self.parameters.value('diagnostics_period'), self._statuses)

    def _statuses(self) -> list[DiagnosticStatus]:
        name = self.get_fully_qualified_name()
        if self._session is None:
            level = DiagnosticStatus.ERROR if self._error else DiagnosticStatus.OK
            message = self._error or self._phase
            facts = {'state': self._phase}
            return [to_status(name, '', level=level, message=message, facts=facts)]
        statuses = self._session.statuses(self._phase)
        if self._error:
            for status in statuses:
                status.level, status.message = DiagnosticStatus.ERROR, self._error
        return statuses

    def _on_jump(self, jump: TimeJump) -> None:
        if self._session is not None:
            self.get_logger().info('The clock jumped back: waiting frames are dropped.')
            self._session.clear()


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the node until it is told to stop.

    Raises
    ------
    SystemExit
        ROS cannot use the arguments, or cannot start.

    """
    share_one_heap()
    try:
        rclpy.init(args=arguments)
    except _REFUSALS as error:
        sys.exit(explain_refusal(error))
    node: OodNode | None = None
    try:
        # First of all: an executor that a signal meets while it is being made leaves a traceback.
        executor = SingleThreadedExecutor()
        try:
            node = OodNode()
        except _REFUSALS as error:
            sys.exit(explain_refusal(error))
        command_line = sys.argv if arguments is None else arguments
        for sentence in without_effect(command_line, node.get_fully_qualified_name()):
            node.get_logger().warning(sentence)
        executor.add_node(node)
        return _run(node, executor)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except Exception:
        if rclpy.ok():
            raise
        return 0  # a signal ended the context in the middle of something that needs it
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


def _run(node: OodNode, executor: Executor) -> int:
    """Start the node if it is to start itself, and spin."""
    log = node.get_logger()
    if not node.parameters.value('autostart'):
        log.info('autostart is false: waiting to be configured and activated.')
    elif node.parameters.value('build_only'):
        if node.trigger_configure() != SUCCESS:
            return int(rclpy.ok())
        log.info('build_only: the engine is built, the node ends.')
        return 0
    elif node.trigger_configure() != SUCCESS or node.trigger_activate() != SUCCESS:
        return int(rclpy.ok())  # interrupted, it has not failed
    executor.spin()
    return 0


if __name__ == '__main__':
    sys.exit(main())
