"""Docker: builds by `docker buildx`, and the images that the engine and registries already have."""
