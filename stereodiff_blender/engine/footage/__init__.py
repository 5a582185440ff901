"""Step 0: what is wrong with the footage, and the plate that the stages look at."""
