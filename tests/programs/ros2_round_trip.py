"""Publish an image to the node of examples/ros2, and compare what it publishes: needs rclpy.

Arguments: the folder of the package segnet_ros2, and a model. Exit status 1 after a difference.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def main(package: str, model: str) -> None:
    """Run both nodes in this process until labels and overlay have arrived."""
    sys.path.insert(0, package)
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from segnet_ros2.messages import fill_image, to_frame
    from segnet_ros2.node import SegNetNode
    from sensor_msgs.msg import Image
    from std_msgs.msg import String

    from segnet_deploy import load
    from segnet_deploy.overlay import overlay
    from segnet_deploy.scenes import draw_scene

    rclpy.init()
    given = {"engine": model, "runtime": "onnxruntime"}
    node = SegNetNode(parameter_overrides=[Parameter(n, value=v) for n, v in given.items()])
    camera = rclpy.create_node("camera")
    found: dict[str, Any] = {}
    camera.create_subscription(Image, "labels", lambda m: found.update(labels=m), 1)
    camera.create_subscription(Image, "overlay", lambda m: found.update(overlay=m), 1)
    late = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    camera.create_subscription(String, "classes", lambda m: found.update(classes=m), late)
    images = camera.create_publisher(Image, "image", 1)
    frame = draw_scene(3, 70, 90).frame
    message = fill_image(Image(), frame, Image().header)
    message.header.frame_id = "front"
    message.header.stamp.sec = 12
    executor = SingleThreadedExecutor()
    for one in (node, camera):
        executor.add_node(one)
    end = time.monotonic() + 60
    while len(found) < 3 and time.monotonic() < end:
        images.publish(message)
        executor.spin_once(timeout_sec=0.2)
    assert set(found) == {"labels", "overlay", "classes"}, f"received only {sorted(found)}"
    with load(model, runtime="onnxruntime") as segmenter:
        labels = segmenter.segment(frame)
        expected = overlay(frame, labels, segmenter.metadata.palette, 0.5)
        classes = list(segmenter.metadata.classes)
    received = found["labels"]
    assert received.encoding == "mono8"
    assert (received.header.frame_id, received.header.stamp.sec) == ("front", 12)
    assert bytes(received.data) == labels.tobytes()
    assert (to_frame(found["overlay"]) == expected).all()
    assert json.loads(found["classes"].data) == classes
    node.destroy_node()
    camera.destroy_node()
    rclpy.shutdown()
    print("labels, overlay and classes are right")


if __name__ == "__main__":
    main(*sys.argv[1:])
