"""The command line: options in, one call, words out."""
