"""Training on simulated cases or on a folder of real ones; Lightning runs the loop."""
