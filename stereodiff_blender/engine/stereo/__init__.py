"""Stage 1: stereo matching. Any of its engines turns frames into one StereoResult.

geometric   weight-free: feature tracks, camera solve, multi-view triangulation
monst3r     pointmaps of a two-view transformer, registered along a spanning tree
"""
