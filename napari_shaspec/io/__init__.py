"""Files on disk: NIfTI images and label maps, and the cases they make up.

All positions are RAS+ millimetres, as nibabel has them, and voxels stay in file order; docs/geometry.md has the rules.
"""
