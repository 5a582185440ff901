"""What runs beside the artist's work, driven by Blender's timer: jobs, installation, doctor, weights."""
