"""What people look at after a run: videos and plots. Knows no robot."""
