"""Tests on the real Docker engine that `.ci/engine` starts."""
