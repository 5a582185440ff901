"""Job folders and worker processes: started, followed, ended, queued, measured. No bpy."""
