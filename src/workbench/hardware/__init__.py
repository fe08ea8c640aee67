"""What the machine is: the profile a trading job can rely on."""
