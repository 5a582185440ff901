"""The solved camera, its samples by frame, and the scene's frame range."""
