"""Debian and Ubuntu packages at one moment: the archive's signed index, what the base has, and what is to be added."""
