"""hrnfit: one subject's face, textured and detailed, from photographs and cameras where known."""

__version__ = "0.1.0"
