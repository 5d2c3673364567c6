"""Simulated glioma cases: brains with tumours made from a template and random numbers, no patient in sight.

Everything is batched tensors (B, C, X, Y, Z) on any torch device, and depends on nothing but the settings and a
`torch.Generator`: a seed makes the same case again on the same kind of device.
"""
