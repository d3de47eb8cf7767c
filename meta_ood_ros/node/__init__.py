"""
The lifecycle node `ood`. From a parameter to an answer, one line a room.

1.  `start_node`         the executable: what the process needs before torch and ROS are loaded
    `shared_memory`      FastDDS's profile, and what stands in its way
    `stopping`           what SIGINT and SIGTERM do
    `command_line`       arguments that ROS refuses, or that have no effect -> sentences
2.  `ood_node`           the lifecycle node; no algorithm
3.  `parameters`         declared ROS parameters <-> settings of the core
4.  `loading`            what the parameters name -> bundle, pipeline, ignore masks
5.  `session`            what exists between on_configure and on_cleanup
6.  `qos`                how images are subscribed to, and what stands in their way
7.  `scheduling`         frames of several cameras -> one worker, the latest of each
8.  `batching`           which frames go through the network together
9.  `processing`         waiting frames -> their answers
10. `publishers`         the outputs of one camera
11. `places`             depth, ground -> where the accepted segments are: the 3D outputs
12. `diagnostics`        what the node knows about its own work -> /diagnostics and the log
    `silence`            no image, no time: what stands in the way
13. `threshold_warning`  thresholds in use -> what of the fitted bundle no longer holds
14. `forwarded_log`      what the core logs -> /rosout

`meta_ood_ros.node.OodNode` is the node for executors of your own. It is imported when it is first
asked for: `start_node` must come to speak where rclpy is missing.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == 'OodNode':
        from meta_ood_ros.node.ood_node import OodNode

        return OodNode
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
