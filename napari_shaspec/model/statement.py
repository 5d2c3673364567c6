"""What users of the bundled weights must be told; apart from `checkpoint`, because saying it needs no torch."""

SIMULATED_STATEMENT = "Trained on simulated cases only. For research; not for clinical use."
