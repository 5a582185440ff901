"""Stage 1 as the paper has it: pointmaps of a two-view transformer, registered along a spanning tree.

MonST3R (arXiv 2410.03825) is DUSt3R (arXiv 2312.14132) fine-tuned on video in which things move. For an ordered pair
of frames it gives the 3D points that both show, in the first one's camera axes, and how sure it is of each.

Frames to pointmaps
  raster        plate -> the network's raster, and back     matching      run all pairs, each frame encoded once
  network       encode a frame, match a pair; its parts are config, rope, transformer, dpt_head
  checkpoint    the published files -> network              pointmaps     what a pair gives
Pointmaps to depth and cameras
  reduction, spanning_tree, similarity, focal, registration, motion; solve is the whole of it
"""
