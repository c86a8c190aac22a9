"""Renewing what the package knows of CUDA: `envcompile/base_image/data/catalogue.json`.

`python -m catalogue` asks a registry for the images and a package index for the frameworks, and says what changed::

    images.py      tags and configurations of the registry -> rows of images, digests, deleted versions
    frameworks.py  wheel metadata of the index             -> rows of bundles and runtimes
    metadata.py    one wheel's requirements, without the wheel
    changes.py     two catalogues -> what changed, line by line
    text.py        a catalogue -> its text, one row a line

What only people can know (drivers, GPU architectures, end of life, what packages need, sizes, what is chosen) stays as
it is. This is a tool of the project's and no part of what is installed.
"""
