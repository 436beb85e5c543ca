"""Stowage beside rclone and s5cmd on one S3 server of this machine. Run with ``python -m bench``."""
