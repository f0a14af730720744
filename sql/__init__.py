"""SQL files and their loader."""
