"""
Start the OoD node on an RGB-D camera whose driver runs: `camera:=realsense`, `zed` or `oak`.

    ros2 launch realsense2_camera rs_launch.py align_depth.enable:=true enable_sync:=true
    ros2 launch meta_ood rgbd.launch.py camera:=realsense

The topics are those of the drivers' defaults; for other names start ood.launch.py with its
arguments image, depth_topic and camera_info.
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare('meta_ood')
#: image, depth registered to it, calibration of the image
TOPICS = {
    'realsense': (
        '/camera/camera/color/image_raw',
        '/camera/camera/aligned_depth_to_color/image_raw',
        '/camera/camera/color/camera_info',
    ),
    'zed': (
        '/zed/zed_node/rgb/color/rect/image',
        '/zed/zed_node/depth/depth_registered',
        '/zed/zed_node/rgb/color/rect/camera_info',
    ),
    'oak': ('/oak/rgb/image_raw', '/oak/stereo/image_raw', '/oak/rgb/camera_info'),
}


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the node with the topics of the camera."""
    image, depth, camera_info = TOPICS[LaunchConfiguration('camera').perform(context)]
    return [
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(
                PathJoinSubstitution([SHARE, 'launch', 'ood.launch.py'])
            ),
            launch_arguments={
                'params_file': LaunchConfiguration('params_file'),
                'image': image,
                'depth': 'image',
                'depth_topic': depth,
                'camera_info': camera_info,
            }.items(),
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and what they start."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'camera',
                choices=list(TOPICS),
                description='Whose topics are read, by the default names of its driver.',
            ),
            DeclareLaunchArgument(
                'params_file',
                default_value=PathJoinSubstitution([SHARE, 'config', 'rgbd.yaml']),
                description='Parameter file of the node.',
            ),
            OpaqueFunction(function=start),
        ]
    )
