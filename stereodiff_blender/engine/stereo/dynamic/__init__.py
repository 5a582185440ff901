"""What moves by itself: found, followed, and given depth."""
