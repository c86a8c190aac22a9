"""The rules that choose base images for the CUDA, Python and C library that packages need, without side effects."""
