"""Registries of images: the part of the OCI distribution API that a lock needs. Nothing but images is asked here."""
