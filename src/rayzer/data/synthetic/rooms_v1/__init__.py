"""rooms-v1, a fixed held-out benchmark of procedural rooms: frozen, any change gets a new name."""
