"""Blender extension: a movie clip becomes depth textures, a displaced mesh and a camera."""
