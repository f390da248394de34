"""Pictures of a scene into files: videos."""
