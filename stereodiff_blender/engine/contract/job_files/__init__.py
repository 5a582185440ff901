"""A job folder's files, read as a stranger's: of any size, from anybody, beside Blender. Standard library
only."""
