"""The settings: one table, one TOML file, read once. In: a file and the environment. Out: `Settings`."""

from hslpy.config.load import Settings, read_settings

__all__ = ["Settings", "read_settings"]
