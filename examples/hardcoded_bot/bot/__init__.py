"""Tidepool: a small bot that follows ten signals and the trend, for one symbol on 15 minute bars."""

__version__ = "0.9.2"
