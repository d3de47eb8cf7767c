"""What runs on the robot: the method (core) and the ROS 2 node around it."""

__version__ = '0.1.0'
