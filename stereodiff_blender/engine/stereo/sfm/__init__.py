"""Structure from motion: tracks, cameras, lens, sparse points."""
