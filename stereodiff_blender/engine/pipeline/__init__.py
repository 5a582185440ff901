"""The method as a page: frames in, cameras and depth out. Knows no files."""
