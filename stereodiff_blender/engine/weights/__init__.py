"""Learned weights as files: what the cards say of them, where they lie, whether they are whole, and getting them.

cards, licenses, records and events are standard library only: Blender's side reads them, too. Nothing here loads a
network; that is what torch_support is for.
"""
