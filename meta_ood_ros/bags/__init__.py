"""
ROS 2 bags without ROS: images and segments out of .mcap and .db3, recordings into .mcap.

1. `folder`     a bag's path -> its storage files, each recording once
2. `recorded`   topics and messages as a file of either format holds them
3. `unpacking`  packed bytes -> plain ones, within bounds
4. `mcap`       an .mcap file -> recorded messages
5. `database`   a .db3 file -> recorded messages
6. `files`      storage files -> recorded messages, as far as they can be read
7. `types`      message types by name, from ROS, from a bag, or from our .msg files
8. `bag`        recorded messages -> message objects and images: the door
9. `writer`     messages -> an .mcap bag that ROS 2 and its players take
"""

from meta_ood_ros.bags.bag import Bag as Bag
from meta_ood_ros.bags.bag import BagLossError as BagLossError
from meta_ood_ros.bags.bag import DamagedMessageError as DamagedMessageError
from meta_ood_ros.bags.bag import RecordedMessage as RecordedMessage
from meta_ood_ros.bags.types import TypeStore as TypeStore
from meta_ood_ros.bags.writer import BagWriter as BagWriter
