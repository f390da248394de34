"""Pages that open from disk: a pure function of results and pictures. Needs no torch."""
