"""What an artist sees and clicks: preferences and properties, operators, panels."""
