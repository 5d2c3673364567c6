"""The network of the authors' released code, built anew on our two verbs, and a safe way into its checkpoints.

Written from a description of shapes and behaviour (docs/model.md); no line comes from that code, which has no licence.
"""
