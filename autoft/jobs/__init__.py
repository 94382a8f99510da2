"""Jobs: searches that run on a Ray cluster, handed to it, followed, stopped and fetched from elsewhere."""
