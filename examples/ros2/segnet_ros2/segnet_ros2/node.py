"""The node: segments the newest image, and publishes its label map and overlay.

Run on 26 November 2026 with rclpy 9.1.2 on x86-64 (packages of ROS 2 on the Python index, without
colcon): an image published on one side, its labels and overlay received on the other. Not run with
a camera, on a Jetson, or as a package that colcon built.
"""

from __future__ import annotations

import json
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import String

from segnet_deploy import load
from segnet_deploy.overlay import overlay
from segnet_ros2.messages import fill_image, to_frame


class SegNetNode(Node):
    """Subscribes to `image`; publishes `labels` (mono8 class ids), `overlay` and `classes`.

    Parameters: `engine`, a file of segnet-export or segnet-build; `runtime`; `threads`, 0 for the
    runtime's choice; `alpha`, the weight of the overlay's colours. `classes` is one JSON list of
    names, kept for late subscribers. An overlay is drawn only while somebody subscribes to it.
    """

    def __init__(self, **options: Any):
        super().__init__("segnet", **options)
        defaults = {"engine": "segnet.onnx", "runtime": "auto", "threads": 0, "alpha": 0.5}
        engine, runtime, threads, self._alpha = (
            self.declare_parameter(name, value).value for name, value in defaults.items()
        )
        self._segmenter = load(engine, runtime=runtime, threads=threads or None)
        newest = QoSProfile(depth=1)
        kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._labels = self.create_publisher(Image, "labels", newest)
        self._overlay = self.create_publisher(Image, "overlay", newest)
        self._classes = self.create_publisher(String, "classes", kept)
        self._classes.publish(String(data=json.dumps(self._segmenter.metadata.classes)))
        latest = QoSProfile(
            depth=1,  # an image that waits is replaced by a newer one
            reliability=qos_profile_sensor_data.reliability,
            durability=qos_profile_sensor_data.durability,
        )
        self.create_subscription(Image, "image", self._segment, latest)
        self.get_logger().info(f"{engine} on {self._segmenter.engine.name}")

    def _segment(self, message: Image) -> None:
        try:
            frame = to_frame(message)
        except ValueError as error:
            self.get_logger().error(f"image: {error}", throttle_duration_sec=5.0)
            return
        labels = self._segmenter.segment(frame)
        self._labels.publish(fill_image(Image(), labels, message.header))
        if self._overlay.get_subscription_count():
            palette = self._segmenter.metadata.palette
            picture = overlay(frame, labels, palette, self._alpha)
            self._overlay.publish(fill_image(Image(), picture, message.header))

    def destroy_node(self) -> None:
        """Close the engine, then the node."""
        self._segmenter.close()
        super().destroy_node()


def main() -> None:
    """Run the node until it is stopped."""
    rclpy.init()
    node = SegNetNode()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
