"""Datablocks that belong to an import: how they are found again, made, animated and wired."""
