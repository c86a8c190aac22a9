"""Makes a plan from a spec and a lock: base images, files and layers of the image as values, without any text."""
