"""Installs the node; segnet-deploy itself comes from pip."""

from setuptools import setup

NAME = "segnet_ros2"

setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", ["launch/segnet.launch.py"]),
    ],
    install_requires=["setuptools", "segnet-deploy"],
    entry_points={"console_scripts": [f"segment = {NAME}.node:main"]},
)
