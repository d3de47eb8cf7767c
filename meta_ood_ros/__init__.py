"""What runs on the robot: the method (core) and the ROS 2 node around it."""

import os

__version__ = '0.1.0'

# Read by OpenMP when torch is loaded. Its threads would spin while they wait, and beside other
# busy processes take the processors from those that they wait for.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
