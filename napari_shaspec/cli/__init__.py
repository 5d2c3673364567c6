"""The command line: one file for each command, which reads, calls the library, and writes.

Standard output is the result (tables, paths), standard error all that is said on the way (notes, progress, errors).
torch and everything above it is imported within the commands, so that ``--help`` answers at once.
"""

from napari_shaspec.cli.app import main

__all__ = ["main"]
