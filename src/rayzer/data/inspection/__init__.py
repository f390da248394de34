"""Looking at scenes before they are trained on: what is there, what is broken, and what to do about it."""
