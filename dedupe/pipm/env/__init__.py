"""Python environments as any tool made them."""
