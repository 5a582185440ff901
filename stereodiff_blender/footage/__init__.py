"""Blender's clip and mask, as the contract has them."""
