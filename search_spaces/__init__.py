"""Study files: what a run is, what a search may change."""
