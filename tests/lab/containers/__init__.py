"""Tests in containers with systemd: installing, and the service without its hardware."""
