"""ros2 launch segnet_ros2 segnet.launch.py engine:=segnet.onnx image:=/camera/image_raw"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node


def generate_launch_description():
    """Return the node with its parameters, its image topic mapped to the camera's."""
    arguments = {"engine": "segnet.onnx", "runtime": "auto", "image": "/camera/image_raw"}
    values = {name: LaunchConfiguration(name) for name in arguments}
    node = Node(
        package="segnet_ros2",
        executable="segment",
        namespace="segnet",
        parameters=[{"engine": values["engine"], "runtime": values["runtime"]}],
        remappings=[("image", values["image"])],
    )
    declared = [DeclareLaunchArgument(n, default_value=v) for n, v in arguments.items()]
    return LaunchDescription([*declared, node])
