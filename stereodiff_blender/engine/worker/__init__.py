"""One job folder from request to result: what Blender starts."""
