"""The panels of the sidebars. They draw what the session's status says and never touch the disk."""
