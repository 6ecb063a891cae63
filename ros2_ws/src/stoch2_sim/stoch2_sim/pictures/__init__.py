"""Pictures of robots without a screen, drawn in processes of their own by whichever means the machine has."""
