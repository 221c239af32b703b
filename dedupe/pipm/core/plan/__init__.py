"""Decisions: functions from facts to plans. No input, no output."""
