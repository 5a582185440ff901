"""Pieces of layout that several panels, or the preferences, draw."""
