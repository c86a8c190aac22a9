"""Makes a plan from a spec and a lock: base images, files and layers as values, from which `emit` makes the text."""
