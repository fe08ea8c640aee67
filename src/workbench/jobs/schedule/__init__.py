"""What runs when: schedules, the agenda that decides, and the daemon that carries it out."""
