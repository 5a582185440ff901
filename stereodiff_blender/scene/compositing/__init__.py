"""The compositor: depth as a node, hold-out, the plate behind."""
