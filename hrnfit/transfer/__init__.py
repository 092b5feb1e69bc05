"""The geometry of a fit carried over to another topology: another model's, or a studio's own template."""
