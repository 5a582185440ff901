"""Where the whole stands in the world: floor, origin, direction, scale."""
