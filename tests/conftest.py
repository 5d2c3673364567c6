"""Settings for every test: napari must not touch the settings of the person who runs them."""

import os

# An empty string keeps napari's settings in memory. It has to be there before the first import of napari, so it is
# set here and not in a fixture.
os.environ["NAPARI_CONFIG"] = ""
