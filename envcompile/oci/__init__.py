"""Images as files: what a layer of an OCI archive holds."""
