"""A finished job as it lies on disk: read, checked, and in Blender's conventions. No datablocks."""
