"""What a result is worth, without knowing the truth."""
