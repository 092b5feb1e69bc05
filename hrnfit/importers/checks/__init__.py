"""What is right and wrong with a model: findings, each a number measured and what to do about it."""
