"""The engine: everything the worker runs. Never imports bpy; only the contract is shared with Blender."""
