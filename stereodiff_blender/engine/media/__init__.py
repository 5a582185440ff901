"""Footage in, pictures out: movies, stills, sequences, mattes, EXR."""
