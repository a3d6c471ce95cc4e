"""Other implementations' files, in and out."""
