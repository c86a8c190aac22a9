"""Images as files: reads the layers of OCI archives."""
