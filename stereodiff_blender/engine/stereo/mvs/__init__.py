"""Multi-view stereo: dense depth of what stands still."""
