"""Python environments, made by any tool, and their interpreters."""
