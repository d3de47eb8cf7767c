"""
ROS 2 bags without ROS: images and segments out of .mcap and .db3, recordings into .mcap.

1. `folder`  a bag's path -> its storage files, each recording once
2. `files`   storage files -> recorded bytes, as far as they can be read
3. `types`   message types by name, from ROS, from a bag, or from our .msg files
4. `bag`     recorded bytes -> messages and images: the door
5. `writer`  messages -> an .mcap bag that ROS 2 and its players take
"""

from meta_ood_ros.bags.bag import Bag as Bag
from meta_ood_ros.bags.bag import BagLossError as BagLossError
from meta_ood_ros.bags.bag import RecordedMessage as RecordedMessage
from meta_ood_ros.bags.types import TypeStore as TypeStore
from meta_ood_ros.bags.writer import BagWriter as BagWriter
