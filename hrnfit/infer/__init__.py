"""From a photograph to a start: crop, networks, maps in our conventions, and back to the photograph."""
