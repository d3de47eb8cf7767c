"""Installs the ROS package meta_ood: the Python package meta_ood_ros and its share/ files."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = 'meta_ood'


def share(folder: str, *patterns: str) -> tuple[str, list[str]]:
    """Return a data_files entry: where under share/meta_ood the files of a folder go."""
    files = sorted(str(path) for pattern in patterns for path in Path(folder).glob(pattern))
    return f'share/{PACKAGE}/{folder}', files


setup(
    name=PACKAGE,
    version='0.1.0',
    description='ROS 2 node that tells a robot what its segmentation network does not know',
    license='Apache-2.0',
    maintainer='meta_ood maintainers',
    maintainer_email='maintainers@meta-ood.example',
    python_requires='>=3.10',
    packages=find_packages(include=['meta_ood_ros', 'meta_ood_ros.*']),
    # What the demo and the node need must be package data: share/ does not exist after pip -e.
    package_data={'meta_ood_ros': ['bundles/*/*', 'fastdds_profile.xml', 'py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml', 'LICENSE', 'NOTICE']),
        share('launch', '*.py'),
        share('config', '*.yaml', '*.rviz', '*.xml'),
    ],
    zip_safe=False,
    # Ranges: a robot brings its own torch and numpy. rclpy and the messages come from ROS (or from
    # requirements.txt), never from here.
    install_requires=[
        'torch>=2.1',
        'numpy>=1.21',
        'numba',
        'opencv-python-headless<5',
        'safetensors',
        'PyYAML',
    ],
    # demo: reading bags and showing progress, which a robot does without.
    extras_require={
        'demo': [
            *('rosbags', 'tqdm', 'lz4'),
            'backports.zstd; python_version < "3.14"',
        ],
        'test': [
            *('pytest', 'catkin_pkg', 'hypothesis', 'matplotlib', 'rosbags', 'lz4'),
            'backports.zstd; python_version < "3.14"',
            *('scikit-image', 'scikit-learn', 'scipy', 'tqdm'),
        ],
    },
    entry_points={'console_scripts': ['ood_node = meta_ood_ros.node.start_node:main']},
)
