"""ROS 2 nodes around the rtseg pipeline."""
