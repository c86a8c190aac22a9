"""The resolver for Debian packages: signed indexes of a snapshot, and the closure over the base image."""
