"""Running models on pictures: load, fold, tile, files in and out."""
