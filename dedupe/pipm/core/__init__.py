"""What things are: values without any input or output."""
