"""What napari calls, by way of the manifest napari.yaml; importing it needs neither napari nor Qt."""
