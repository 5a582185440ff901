"""Depth boundaries: where they run, and which side a pixel is on."""
