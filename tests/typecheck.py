"""The run-time type checker that the tests put on every function of hrnfit, through jaxtyping."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""An int is welcome where a float is asked for, as in static checking."""
