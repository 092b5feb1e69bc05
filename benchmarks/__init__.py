"""Speed and accuracy, one command each; results as JSON in `results/`, with the machine named."""
