"""How drivers for waiting writes are labelled, known without loading what writes them back."""

WRITE_BACK = "write-back-"
"""The beginning of the labels of drivers that can write to the folder of waiting writes."""
