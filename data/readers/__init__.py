"""One short file per data set layout, each turning a folder as distributed into records."""
