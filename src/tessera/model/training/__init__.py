"""How the trunk learns."""
