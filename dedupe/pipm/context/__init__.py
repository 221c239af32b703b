"""What every operation works with: workers, statistics, locks on environments, shared values."""
