"""Tests on an emulated Raspberry Pi: its kernel's own sound, pins and processes. Needs `--lab`."""
