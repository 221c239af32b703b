"""What to do: facts in, decisions out; nothing here touches the disk."""
