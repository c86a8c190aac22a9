"""envcompile: one TOML file in; one lock, one reproducible Dockerfile and its tag out.

The table of contents, in the order a value travels::

    spec/      text -> Spec              the front end: what is asked
    resolve/   Spec -> packages          the solvers: the only place with a network
    lock/      packages <-> lock file    what was answered, pinned
    plan/      Spec, Lock -> Plan        which stages, files and steps
    emit/      Plan -> Dockerfile        text; its sha256 is the tag
    engine/    Dockerfile -> image       the only place that knows docker
    cli/       one module per command    the only place that prints or exits

`pipeline` is that picture as code. Given a lock, everything from text to Dockerfile is a pure function.
"""

__version__ = "0.1.0"
