"""Many cases on dask: every case with the modalities that it has, a row for each, and no case that stops the others."""
