"""Arithmetic on pictures that every stage shares: flow, warps, edges, matching costs."""
