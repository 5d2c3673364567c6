"""The ShaSpec network in torch: two verbs, `encode` one modality and `decode` any subset."""
