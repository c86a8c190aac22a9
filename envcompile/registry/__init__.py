"""Image registries: the part of the OCI distribution API that locking and pushing need. It asks for images alone."""
