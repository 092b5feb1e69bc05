"""How the landmark detector errs, measured on renders."""
