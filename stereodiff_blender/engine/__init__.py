"""The engine: everything the worker runs. Never imports bpy; only contract.py is shared with Blender."""
