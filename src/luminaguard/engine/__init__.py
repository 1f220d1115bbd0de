"""What happens next: run, attempt, landing, recovery, placement."""
