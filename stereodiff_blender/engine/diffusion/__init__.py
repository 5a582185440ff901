"""Stage 2: remove what flickers, keep what stays."""
