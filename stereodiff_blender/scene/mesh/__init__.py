"""The displaced mesh: modifier, materials, views, and baking it."""
