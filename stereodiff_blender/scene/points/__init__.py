"""Point clouds: the solved points, and depth fused over the clip."""
