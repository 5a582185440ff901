"""The worker's Python: where it is, what is in it, how it is made and mended. No bpy."""
