"""From a case to probabilities: preprocessing, tiles, the cache of encodings, devices, and the session over all."""
