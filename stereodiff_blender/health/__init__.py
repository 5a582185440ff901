"""What stands in the way of a run: the doctor's report, what a choice needs, the weights. No bpy."""
