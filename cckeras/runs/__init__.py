"""The run folder: layout, atomic commit, opening, verification."""
