"""What requests get while no cluster can be reached."""
