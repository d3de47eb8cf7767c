"""Label files, which the robot's demo reads by the same rules."""

from meta_ood_ros.core.files.label_image import read_label as read_label
from meta_ood_ros.core.files.label_image import refuse_lossy as refuse_lossy
