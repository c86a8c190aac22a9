"""The rules that choose base images: what the packages need of CUDA, Python and the C library, as a pure decision."""
