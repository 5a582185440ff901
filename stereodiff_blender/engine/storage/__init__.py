"""Arrays and files on disk: scratch space, what a stage keeps, writing whole or not at all."""
