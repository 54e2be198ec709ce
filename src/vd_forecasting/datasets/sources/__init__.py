"""Formats that detector data come in; each is read as a VD array."""
