"""Renews what envcompile knows about CUDA: `envcompile/base_image/data/catalogue.json`.

`python -m catalogue` reads the images from a registry and the frameworks from a package index, and lists the changes::

    images.py      tags and configurations of the registry -> rows of images, digests, deleted versions
    frameworks.py  wheel metadata of the index             -> rows of bundles and runtimes
    metadata.py    a wheel of the index                    -> its requirements, without downloading the wheel
    changes.py     two catalogues                          -> a line for each change
    text.py        a catalogue                             -> its text, one row per line

The tables that people maintain (drivers, GPU architectures, end of life, the needs of packages, sizes, preferences) are
not changed. This is a tool of the project, which is not installed with envcompile.
"""
