"""`python -m napari_shaspec` is the command `napari-shaspec`."""

from napari_shaspec.cli import main

if __name__ == "__main__":
    main()
