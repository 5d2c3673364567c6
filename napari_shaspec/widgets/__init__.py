"""The panel: one small view a file. Views show the state and say what was clicked; they compute nothing."""
