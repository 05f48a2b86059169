"""What a process of the platform is told when it starts: its settings, its clock, its place."""
