"""A ROS 2 node for segnet-deploy: `messages` is pure, `node` needs rclpy."""
