"""The package as a user meets it: its names, its version, what importing it costs."""
import hrnfit

def test_version():
    assert hrnfit.__version__
