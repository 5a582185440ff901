"""What the buttons do: read the context, call a function, report."""
