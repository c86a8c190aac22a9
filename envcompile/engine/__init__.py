"""DOCKER: builds by `docker buildx`, and what the engine and registries already have. Nothing else knows docker."""
