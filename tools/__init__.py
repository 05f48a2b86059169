"""What works on the project itself: set-up, drawings, mutants."""
