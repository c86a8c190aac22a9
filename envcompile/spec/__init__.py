"""Parses and checks specs: TOML text -> `TomlSource` -> `Spec`. Reads no files and uses no network."""
