"""Real convolutional networks: pretrained and random starts, their training, and what the kernel theory says of it."""
