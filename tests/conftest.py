"""Settings for every test: napari must not touch the settings of the person who runs them."""

import os
import signal

# An empty string keeps napari's settings in memory. It has to be there before the first import of napari, so it is
# set here and not in a fixture.
os.environ["NAPARI_CONFIG"] = ""

# A shell starts background jobs deaf to Ctrl+C, and tests of interruptions raise it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
