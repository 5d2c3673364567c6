"""ShaSpec beyond segmentation: Audiovision-MNIST, where a digit is seen and, seldom, heard."""
