"""Tests at real pace on real ALSA: a PulseAudio of their own stands for the card."""
